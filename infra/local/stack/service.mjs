import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freeBytes } from "../bootstrap/disk.mjs";
import { adviceFor } from "../lib/command.mjs";
import { explain, Failure, Stopped } from "../lib/failure.mjs";
import { readFrom, sizeOf, tailOf } from "../lib/files.mjs";
import { seconds } from "../lib/progress.mjs";
import { killGroup, killStrays, signalPolitely } from "../lib/stop-processes.mjs";
import { waitUntil } from "./health.mjs";

/**
 * @typedef {object} Readiness
 * @property {(saidSoFar: () => string) => Promise<boolean>} ready may look at what the process wrote since it began
 * @property {number} readyMs
 * @typedef {Omit<import("../lib/run.mjs").ChildSpec, "logFile"> & Readiness} ServiceSpec
 */

/** How long after the nth death in a row to wait: a single crash heals at once, a loop does not eat the machine. */
export const backOff = [200, 1_000, 2_000, 5_000, 10_000, 20_000];
const calmAfterMs = 60_000;
const almostNothing = 16 * 1024 * 1024;

/** One process that is kept running until the run ends. */
export class Service {
  /** @type {import("../lib/run.mjs").Child | null} */
  #child = null;
  #deaths = 0;
  #startedAt = 0;
  #wantsRestart = false;

  /**
   * @param {import("../lib/run.mjs").Run} run
   * @param {ServiceSpec} spec
   * @param {string} logs
   */
  constructor(run, spec, logs) {
    this.run = run;
    this.spec = spec;
    this.logFile = path.join(logs, `${spec.name}.log`);
  }

  /** Starts the process, waits until it is ready, and watches over it from then on. */
  async start() {
    const outcome = await this.#launch();
    if (outcome === "ready") {
      this.#watch();
      return;
    }
    if (this.run.signal.aborted) throw new Stopped();
    const tail = tailOf(this.logFile);
    const what = outcome === "over" ? "ended while starting" : `was not ready after ${this.spec.readyMs / 1000} s`;
    throw new Failure(`${this.spec.name} ${what}.`, {
      advice: adviceFor(tail.join("\n")) ?? "The log says why; run the same command again once that is mended.",
      logFile: this.logFile,
      tail,
    });
  }

  /** For developers: ends the process, and the watch starts it again with the changed code. */
  restart() {
    if (this.#child === null) return;
    this.#wantsRestart = true;
    const { record, exited } = this.#child;
    signalPolitely(record);
    const timer = setTimeout(() => killGroup(record.pid), 5_000);
    exited.then(() => clearTimeout(timer));
  }

  /** @returns {Promise<"ready" | "late" | "over">} */
  async #launch() {
    const from = sizeOf(this.logFile);
    const child = this.run.spawn({ ...this.spec, logFile: this.logFile });
    this.#child = child;
    this.#startedAt = Date.now();
    let over = false;
    child.exited.then(() => {
      over = true;
    });
    const ended = () => over || this.run.signal.aborted;
    const outcome = await waitUntil(() => this.spec.ready(() => readFrom(this.logFile, from)), {
      limitMs: this.spec.readyMs,
      over: ended,
    });
    // the answer may have been that of a stranger on our port, while ours found it taken and ended
    await sleep(100);
    return outcome === "ready" && ended() ? "over" : outcome;
  }

  async #watch() {
    while (!this.run.signal.aborted) {
      // no child: the last attempt could not even begin (a full disk), and only the waiting is left to do
      const how = this.#child === null ? "was not started" : await this.#death(this.#child);
      if (this.run.signal.aborted) return;
      const delay = this.#nextDelay();
      const asked = this.#wantsRestart;
      this.#wantsRestart = false;
      const again = `starting it again in ${seconds(delay)} (log: ${this.logFile})`;
      // a full disk leaves no room for the log that would say so
      if (!asked && freeBytes(this.logFile) < almostNothing)
        this.run.say("! the disk is full: free some space, and the stack goes on by itself");
      this.run.say(asked ? `↻ ${this.spec.name}` : `! ${this.spec.name} ${how}; ${again}`);
      await sleep(asked ? 0 : delay);
      if (!this.run.signal.aborted) await this.#again();
    }
  }

  /**
   * @param {import("../lib/run.mjs").Child} child
   * @returns {Promise<string>} how it ended
   */
  async #death(child) {
    const { code, signal } = await child.exited;
    this.#child = null;
    if (Date.now() - this.#startedAt > calmAfterMs) this.#deaths = 0;
    if (this.run.signal.aborted) return "was stopped";
    // a worker that was killed leaves its trainer: that one must not go on beside its successor
    killGroup(child.record.pid);
    await killStrays(`GROVE_PROCESS=${this.run.id}:${this.spec.name}`, new Set());
    return `ended (${signal ?? `status ${code}`})`;
  }

  async #again() {
    const began = Date.now();
    try {
      const outcome = await this.#launch();
      if (outcome === "ready") this.run.say(`✓ ${this.spec.name} is back after ${seconds(Date.now() - began)}`);
      if (outcome === "late") this.run.say(`! ${this.spec.name} runs, and does not answer yet (log: ${this.logFile})`);
    } catch (error) {
      if (!(error instanceof Stopped))
        this.run.say(`! ${this.spec.name} could not be started: ${explain(error).message}`);
    }
  }

  #nextDelay() {
    const delay = backOff[Math.min(this.#deaths, backOff.length - 1)] ?? 0;
    this.#deaths += 1;
    return delay;
  }
}
