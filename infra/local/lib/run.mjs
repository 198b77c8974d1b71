import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { Socket } from "node:net";
import path from "node:path";
import { Failure, Stopped } from "./failure.mjs";
import { identityOf } from "./process-identity.mjs";
import { stopChildren } from "./stop-processes.mjs";

/**
 * @typedef {import("./stop-processes.mjs").ChildRecord} ChildRecord
 * @typedef {import("./lock.mjs").Lock} Lock
 * @typedef {{ record: ChildRecord, exited: Promise<{ code: number | null, signal: string | null }> }} Child
 * @typedef {object} ChildSpec
 * @property {string} name
 * @property {string} command
 * @property {string[]} args
 * @property {string} cwd
 * @property {NodeJS.ProcessEnv} env
 * @property {string} logFile stdout and stderr go there, so a child never blocks or dies with our terminal
 * @property {ChildRecord["phase"]} phase
 * @property {ChildRecord["signal"]} [signal]
 * @property {number} [uid]
 * @property {number} [gid]
 */

const maxLogBytes = 20 * 1024 * 1024;

/** One command's life: everything it starts is recorded in its locks and with its reaper, and stops with it. */
export class Run {
  id = randomUUID();
  #abort = new AbortController();
  /** @type {Map<number, ChildRecord>} */
  #children = new Map();
  /** @type {Set<Lock>} */
  #locks = new Set();
  /** @type {import("node:child_process").ChildProcess} */
  #reaper;
  /** @type {Promise<void> | null} */
  #stopping = null;

  /** @param {{ reaperLog: string, say: (line: string) => void }} options */
  constructor(options) {
    this.say = options.say;
    this.#reaper = startReaper(this.id, options.reaperLog);
    for (const [signal, code] of /** @type {const} */ ([
      ["SIGINT", 130],
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ])) {
      process.on(signal, () => this.#onSignal(code));
    }
  }

  get signal() {
    return this.#abort.signal;
  }

  /** @param {Lock} lock */
  holds(lock) {
    this.#locks.add(lock);
    this.#tellReaper({ lock: lock.file });
  }

  /** @param {string} file of a lock that this run holds, or never came to hold */
  releases(file) {
    for (const lock of this.#locks) {
      if (lock.file !== file) continue;
      this.#locks.delete(lock);
      lock.release();
    }
  }

  /**
   * @param {ChildSpec} spec
   * @returns {Child}
   */
  spawn(spec) {
    if (this.#abort.signal.aborted) throw new Stopped();
    const log = openLog(spec.logFile);
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: { ...spec.env, GROVE_RUN: this.id, GROVE_PROCESS: `${this.id}:${spec.name}` },
      stdio: ["ignore", log, log],
      detached: true,
      ...(spec.uid === undefined ? {} : { uid: spec.uid, gid: spec.gid }),
    });
    fs.closeSync(log);
    const pid = child.pid;
    if (pid === undefined) {
      child.on("error", () => {});
      throw new Failure(`${spec.command} can't be started.`, {
        advice: `It is needed for ${spec.name}: is it installed and executable?`,
      });
    }
    const identity = identityOf(pid) ?? "";
    const record = {
      name: spec.name,
      pid,
      identity,
      phase: spec.phase,
      signal: spec.signal ?? /** @type {const} */ ("SIGTERM"),
    };
    this.#children.set(pid, record);
    this.#tellReaper({ add: record });
    for (const lock of this.#locks) lock.add(record);
    /** @type {Promise<{ code: number | null, signal: string | null }>} */
    const exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    exited.then(() => this.#forget(pid));
    return { record, exited };
  }

  /** Stops everything in order. Safe to call more than once: all callers wait for the same end. */
  stop() {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll() {
    this.#abort.abort();
    await stopChildren([...this.#children.values()], `GROVE_RUN=${this.id}`, this.say);
    for (const lock of this.#locks) lock.release();
    this.#tellReaper({ bye: true });
    this.#reaper.stdin?.end();
  }

  /** @param {number} code */
  #onSignal(code) {
    if (this.#stopping !== null) {
      this.say("still stopping; everything ends within 15 s");
      return;
    }
    this.say("stopping");
    const began = Date.now();
    this.stop().then(
      () => {
        this.say(`stopped in ${((Date.now() - began) / 1000).toFixed(1)} s`);
        process.exit(code);
      },
      (error) => {
        this.say(String(error));
        process.exit(code);
      },
    );
  }

  /** @param {number} pid */
  #forget(pid) {
    this.#children.delete(pid);
    this.#tellReaper({ remove: pid });
    if (this.#stopping === null) for (const lock of this.#locks) lock.remove(pid);
  }

  /** @param {object} message */
  #tellReaper(message) {
    if (this.#reaper.stdin?.writable) this.#reaper.stdin.write(`${JSON.stringify(message)}\n`);
  }
}

/**
 * @param {string} run
 * @param {string} logFile
 */
function startReaper(run, logFile) {
  const log = openLog(logFile);
  const reaper = spawn(process.execPath, [path.join(import.meta.dirname, "reaper.mjs"), run], {
    stdio: ["pipe", "ignore", log],
    detached: true,
    cwd: "/",
    env: { ...process.env, GROVE_RUN: "", GROVE_PROCESS: "" },
  });
  fs.closeSync(log);
  reaper.on("error", () => {});
  reaper.stdin?.on("error", () => {});
  reaper.unref();
  if (reaper.stdin instanceof Socket) reaper.stdin.unref(); // neither may keep a finished command from ending
  return reaper;
}

/** @param {string} file */
function openLog(file) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  try {
    if (fs.statSync(file).size > maxLogBytes) fs.renameSync(file, `${file}.1`);
  } catch {
    // no such log yet
  }
  return fs.openSync(file, "a");
}
