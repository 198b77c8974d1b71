import { setTimeout as sleep } from "node:timers/promises";
import { identityOf, isAlive, processesMarked } from "./process-identity.mjs";

/**
 * One process that a run started. It leads a process group of its own.
 * @typedef {object} ChildRecord
 * @property {string} name
 * @property {number} pid
 * @property {string} identity see process-identity.mjs
 * @property {"apps" | "data" | "install"} phase data services stop after everything that talks to them
 * @property {"SIGTERM" | "SIGINT"} signal the polite one
 */

/**
 * Apps get longest: a worker has to stop its trainer, and write that down. All of it, with the moments after each kill,
 * stays within 15 s.
 */
const grace = { install: 1_500, apps: 7_000, data: 4_000 };
const afterKillMs = 500;

/**
 * Stops the processes of a run in order, politely and then by force, and whatever they had started.
 * @param {ChildRecord[]} children
 * @param {string} mark `GROVE_RUN=<id>`, carried by the environment of everything the run started
 * @param {(line: string) => void} [say]
 */
export async function stopChildren(children, mark, say = () => {}) {
  for (const phase of /** @type {const} */ (["install", "apps", "data"])) {
    const group = children.filter((child) => child.phase === phase && isAlive(child));
    for (const child of group) signalPolitely(child);
    await gone(group, grace[phase]);
    for (const child of group) {
      if (isAlive(child)) say(`${child.name} did not stop in ${grace[phase] / 1000} s and was killed`);
      killGroup(child.pid);
    }
    await gone(group, afterKillMs);
    // marked strays may be clients of the data services, so they go before those do
    if (phase === "apps") await killStrays(mark, new Set(children.filter(isAlive).map((child) => child.pid)));
  }
  await killStrays(mark, new Set());
}

/** @param {ChildRecord} child */
export function signalPolitely(child) {
  // installers (pnpm, pip) are trees of processes, and none of them has anything to put in order
  send(child.phase === "install" ? -child.pid : child.pid, child.signal);
}

/**
 * Kills every process of the group. Only for groups whose leader is ours and was alive a moment ago.
 * @param {number} leader
 */
export function killGroup(leader) {
  send(-leader, "SIGKILL");
}

/**
 * @param {string} mark
 * @param {Set<number>} spare
 */
export async function killStrays(mark, spare) {
  const strays = processesMarked(mark).filter((stray) => !spare.has(stray.pid));
  for (const stray of strays) if (isAlive(stray)) send(stray.pid, "SIGKILL");
  await gone(strays, afterKillMs);
}

/**
 * @param {{ pid: number, identity: string }[]} processes
 * @param {number} limitMs
 */
async function gone(processes, limitMs) {
  const end = Date.now() + limitMs;
  while (processes.some((known) => identityOf(known.pid) === known.identity) && Date.now() < end) await sleep(25);
}

/**
 * @param {number} pid
 * @param {"SIGTERM" | "SIGINT" | "SIGKILL"} signal
 */
function send(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // it ended by itself in the meantime
  }
}
