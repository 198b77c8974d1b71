import net from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { checkPorts, findFreeBase, isFree } from "./ports.mjs";

/** @returns {Promise<number>} */
function takenPort() {
  const server = net.createServer();
  onTestFinished(() => void server.close());
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

it("names the taken port, its holder and the way out", async () => {
  const port = await takenPort();
  const failure = await checkPorts({ web: port }).catch((error) => error);
  expect(failure.message).toContain(`port ${port} (for web) is taken by pid ${process.pid}`);
  expect(failure.advice).toContain("GROVE_PORT_BASE");
});

it("finds a base whose ports are all free", async () => {
  const base = await findFreeBase([0, 1, 11]);
  for (const offset of [0, 1, 11]) expect(await isFree(base + offset)).toBe(true);
});

it("passes over a base with one taken port", async () => {
  const taken = await takenPort();
  const randoms = [(taken - 20_000) / 20 / 600, 0.5];
  const base = await findFreeBase([(taken - 20_000) % 20], () => randoms.shift() ?? 0.7);
  expect(base).not.toBe(taken - ((taken - 20_000) % 20));
});
