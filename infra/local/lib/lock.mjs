import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, Stopped } from "./failure.mjs";
import { readIfThere, writeAtomically } from "./files.mjs";
import { identityOf, isAlive } from "./process-identity.mjs";
import { stopChildren } from "./stop-processes.mjs";

/**
 * @typedef {import("./stop-processes.mjs").ChildRecord} ChildRecord
 * @typedef {{ pid: number, identity: string, what: string, since: string, run: string, children: ChildRecord[] }} Holder
 */

/**
 * A file that says who works here, and what that one has started. The holder of a lock that outlived its process
 * (kill -9, power cut) is known by pid and start time; what it started is stopped before the lock changes hands.
 */
export class Lock {
  /**
   * @param {string} file
   * @param {Holder} holder
   */
  constructor(file, holder) {
    this.file = file;
    this.holder = holder;
  }

  /** @param {ChildRecord} child */
  add(child) {
    this.holder.children.push(child);
    this.#write();
  }

  /** @param {number} pid */
  remove(pid) {
    this.holder.children = this.holder.children.filter((child) => child.pid !== pid);
    this.#write();
  }

  release() {
    const now = parse(readIfThere(this.file));
    if (now?.run === this.holder.run) fs.rmSync(this.file, { force: true });
  }

  #write() {
    // after the release there is nothing left to guard, and the file may be another's
    if (parse(readIfThere(this.file))?.run !== this.holder.run) return;
    try {
      writeAtomically(this.file, JSON.stringify(this.holder), 0o600);
    } catch (error) {
      // On a full disk the stack goes on: the reaper knows the children too, and the file is the second record of them.
      if (errorCode(error) !== "ENOSPC" && errorCode(error) !== "EDQUOT") throw error;
    }
  }
}

/**
 * Takes the lock, or says who has it. A stale lock is taken over once its orphans are stopped.
 * @param {string} name
 * @param {{ what: string, run: string, say?: (line: string) => void }} who
 * @returns {Promise<{ lock: Lock } | { heldBy: Holder }>}
 */
export async function takeLock(name, who) {
  const file = path.resolve(name); // the reaper, which may release it, works in another folder
  const identity = identityOf(process.pid) ?? "";
  const holder = {
    pid: process.pid,
    identity,
    what: who.what,
    since: new Date().toISOString(),
    run: who.run,
    children: [],
  };
  fs.mkdirSync(path.dirname(file), { recursive: true });
  for (let attempt = 0; attempt < 20; attempt++) {
    if (createWith(file, JSON.stringify(holder))) return { lock: new Lock(file, holder) };
    const text = readIfThere(file);
    if (text === null) continue;
    const other = parse(text);
    if (other !== null && isAlive(other)) return { heldBy: other };
    if (other !== null) await stopOrphans(other, who.say);
    moveAway(file, text);
  }
  throw new Error(`${file} changes hands too fast`);
}

/**
 * Waits for the lock as long as its holder lives.
 * @param {string} file
 * @param {{ what: string, run: string, say?: (line: string) => void, signal: AbortSignal, onWait: (holder: Holder) => void }} who
 * @returns {Promise<Lock>}
 */
export async function waitForLock(file, who) {
  for (let told = false; ; told = true) {
    if (who.signal.aborted) throw new Stopped();
    const taken = await takeLock(file, who);
    if ("lock" in taken) return taken.lock;
    if (!told) who.onWait(taken.heldBy);
    await sleep(300);
  }
}

/**
 * @param {Holder} holder
 * @param {(line: string) => void} [say]
 */
async function stopOrphans(holder, say = () => {}) {
  const alive = holder.children.filter(isAlive);
  if (alive.length > 0)
    say(
      `an earlier run (pid ${holder.pid}) was killed; stopping what it left: ${alive.map((child) => child.name).join(", ")}`,
    );
  await stopChildren(holder.children, `GROVE_RUN=${holder.run}`, say);
}

/**
 * Creates the file with its content in one step, so that nobody reads an empty lock.
 * @param {string} file
 * @param {string} content
 */
function createWith(file, content) {
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`;
  fs.writeFileSync(temporary, content, { mode: 0o600 });
  try {
    fs.linkSync(temporary, file);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

/**
 * Removes the stale lock that we read, and puts back what another run may have put there in between.
 * @param {string} file
 * @param {string} stale
 */
function moveAway(file, stale) {
  const aside = `${file}.stale.${process.pid}`;
  try {
    fs.renameSync(file, aside);
    if (readIfThere(aside) !== stale) fs.linkSync(aside, file);
  } catch (error) {
    if (errorCode(error) !== "ENOENT" && errorCode(error) !== "EEXIST") throw error;
  }
  fs.rmSync(aside, { force: true });
}

/**
 * @param {string | null} text
 * @returns {Holder | null} null for a file that is no lock of ours, which then counts as stale
 */
function parse(text) {
  try {
    const value = JSON.parse(text ?? "");
    const whole =
      Number.isInteger(value.pid) &&
      typeof value.identity === "string" &&
      typeof value.run === "string" &&
      Array.isArray(value.children);
    return whole ? value : null;
  } catch {
    return null;
  }
}
