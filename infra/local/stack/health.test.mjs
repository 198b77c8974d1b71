import net from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { postgresReady, redisReady, waitUntil } from "./health.mjs";

/**
 * @param {string} answer
 * @returns {Promise<number>} the port of a server that says that to everybody
 */
function serverThatSays(answer) {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.write(answer));
  });
  onTestFinished(() => void server.close());
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

it("a Postgres that recovers and turns clients away is not ready; one that asks for a password is", async () => {
  expect(await postgresReady(await serverThatSays("E\0\0\0\u0030SFATAL\0C57P03\0\0"))).toBe(false);
  expect(await postgresReady(await serverThatSays("R\0\0\0\u0017\0\0\0\nSCRAM-SHA-256\0\0"))).toBe(true);
});

it("a Redis that loads its data is not ready; one that answers is", async () => {
  expect(await redisReady(await serverThatSays("+OK\r\n-LOADING Redis is loading\r\n"), "x")).toBe(false);
  expect(await redisReady(await serverThatSays("+OK\r\n+PONG\r\n"), "x")).toBe(true);
});

it("waiting ends at its limit, and at once when there is nothing left to wait for", async () => {
  expect(await waitUntil(async () => false, { limitMs: 50, everyMs: 10 })).toBe("late");
  expect(await waitUntil(async () => false, { limitMs: 60_000, over: () => true })).toBe("over");
});
