import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Asks again and again until the answer is yes, the limit is reached, or `over` says that asking makes no sense.
 * @param {() => Promise<boolean>} probe
 * @param {{ limitMs: number, everyMs?: number, over?: () => boolean }} how
 * @returns {Promise<"ready" | "late" | "over">}
 */
export async function waitUntil(probe, { limitMs, everyMs = 100, over = () => false }) {
  const end = Date.now() + limitMs;
  for (;;) {
    if (over()) return "over";
    if (await probe()) return "ready";
    if (Date.now() > end) return "late";
    await sleep(everyMs);
  }
}

/**
 * @param {string} url
 * @returns {Promise<boolean>} true for any answer that is not a fault of the server
 */
export async function answersHttp(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(3_000), redirect: "manual" });
    await response.body?.cancel();
    return response.status < 500;
  } catch {
    return false;
  }
}

/**
 * An open port is not enough: while Postgres recovers from a crash it takes connections and turns them away. It
 * is ready when it asks for a password.
 * @param {number} port
 */
export async function postgresReady(port) {
  const parameters = Buffer.from("user\0postgres\0database\0postgres\0\0", "latin1");
  const packet = Buffer.alloc(8 + parameters.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(196_608, 4); // protocol 3.0
  parameters.copy(packet, 8);
  return (await firstBytes(port, packet)).startsWith("R");
}

/**
 * @param {number} port
 * @param {string} password
 */
export async function redisReady(port, password) {
  const answer = await firstBytes(port, Buffer.from(`AUTH ${password}\r\nPING\r\n`, "latin1"), "PONG");
  return answer.includes("+PONG");
}

/**
 * @param {number} port
 * @param {Buffer} request
 * @param {string} [until] read on until this is there
 * @returns {Promise<string>} what came back within a second, or an empty string
 */
function firstBytes(port, request, until = "") {
  return new Promise((resolve) => {
    let answer = "";
    const socket = net.createConnection({ port, host: "127.0.0.1" }, () => socket.write(request));
    const finish = () => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, finish);
    socket.on("error", finish);
    socket.on("close", finish);
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
      if (until === "" || answer.includes(until)) finish();
    });
  });
}
