import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { familyOf } from "./processes.mjs";

/** @typedef {import("./plan.mjs").Fault} Fault */
/** @typedef {{ hit: boolean, healed: Promise<void> }} Struck `hit`: there was something to strike */

const STALL_MS = 9_000; // more than the 5 s after which a worker counts as lost
const FULL_MS = 6_000;
const nothing = { hit: false, healed: Promise.resolve() };

/**
 * @param {Fault} fault
 * @param {string} data
 * @returns {Struck}
 */
export function strike(fault, data) {
  if (fault.act === "diverge") return { hit: true, healed: Promise.resolve() }; // the job itself is the fault
  if (fault.act === "fill") return fill(fault.target === "work" ? path.join(data, "work") : data);
  const family = familyOf(fault.target);
  const [leader] = family;
  if (leader === undefined) return nothing;
  if (fault.act === "kill") return { hit: send(leader, "SIGKILL"), healed: Promise.resolve() };
  for (const pid of family) send(pid, "SIGSTOP");
  const wake = async () => {
    await sleep(STALL_MS);
    for (const pid of family) send(pid, "SIGCONT");
  };
  return { hit: true, healed: wake() };
}

/**
 * @param {number} pid
 * @param {"SIGKILL" | "SIGSTOP" | "SIGCONT"} signal
 */
function send(pid, signal) {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false; // it has ended by itself
  }
}

/**
 * Not a byte is left on the disk of this folder, for a while.
 * @param {string} folder
 * @returns {Struck}
 */
function fill(folder) {
  const ballast = path.join(folder, "ballast");
  const file = fs.openSync(ballast, "w");
  for (const size of [4 << 20, 4096, 1]) {
    try {
      for (;;) fs.writeSync(file, Buffer.alloc(size));
    } catch {
      // full, for pieces of this size
    }
  }
  fs.closeSync(file);
  const free = async () => {
    await sleep(FULL_MS);
    fs.rmSync(ballast, { force: true });
  };
  return { hit: true, healed: free() };
}
