import { execFileSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import { Failure } from "../lib/failure.mjs";
import { commandOf } from "../lib/process-identity.mjs";

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
export function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** @param {Record<string, number>} ports name → port */
export async function checkPorts(ports) {
  const taken = [];
  for (const [name, port] of Object.entries(ports)) if (!(await isFree(port))) taken.push({ name, port });
  if (taken.length === 0) return;
  const lines = taken.map(({ name, port }) => `port ${port} (for ${name}) is taken by ${holderOf(port)}`);
  throw new Failure(`${lines.join("; ")}.`, {
    advice:
      "Stop that process, or move all of Grove's ports: GROVE_PORT_BASE=4700 npm run demo (for a second stack also GROVE_DATA).",
  });
}

/**
 * @param {number} port
 * @returns {string}
 */
export function holderOf(port) {
  const pid = process.platform === "linux" ? pidFromProc(port) : pidFromLsof(port);
  if (pid === null) return "a process of another user";
  return `pid ${pid} (${commandOf(pid).slice(0, 80) || "unknown command"})`;
}

/** @param {number} port */
function pidFromProc(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = new Set();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    if (!fs.existsSync(table)) continue;
    for (const line of fs.readFileSync(table, "utf8").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === "0A" && fields[1]?.endsWith(`:${hex}`)) inodes.add(`socket:[${fields[9]}]`);
    }
  }
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (openFiles(pid).some((target) => inodes.has(target))) return Number(pid);
  }
  return null;
}

/** @param {string} pid */
function openFiles(pid) {
  const folder = `/proc/${pid}/fd`;
  /** @type {string[]} */
  const targets = [];
  try {
    for (const name of fs.readdirSync(folder)) targets.push(linkOf(`${folder}/${name}`));
  } catch {
    // the process ended, or is not ours to look into
  }
  return targets;
}

/** @param {string} file */
function linkOf(file) {
  try {
    return fs.readlinkSync(file);
  } catch {
    return "";
  }
}

/** @param {number} port */
function pidFromLsof(port) {
  try {
    const out = execFileSync("lsof", ["-nP", "-t", `-iTCP:${port}`, "-sTCP:LISTEN"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return Number(out.trim().split("\n")[0]) || null;
  } catch {
    return null;
  }
}

/**
 * A base whose ports are all free, below the range that systems hand out to outgoing connections.
 * @param {number[]} offsets
 * @param {() => number} [random]
 */
export async function findFreeBase(offsets, random = Math.random) {
  for (let attempt = 0; attempt < 200; attempt++) {
    const base = 20_000 + Math.floor(random() * 600) * 20;
    const free = await Promise.all(offsets.map((offset) => isFree(base + offset)));
    if (free.every(Boolean)) return base;
  }
  throw new Failure("No free range of ports was found between 20000 and 32000.", {
    advice: "Name one with GROVE_PORT_BASE.",
  });
}
