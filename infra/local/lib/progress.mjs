import path from "node:path";
import { Failure } from "./failure.mjs";

/** @param {number} ms */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Shows what runs and how long it took: one line a finished step, and a live line where the output is a terminal. */
export class Progress {
  /** @type {Map<string, number>} */
  #running = new Map();
  #live = process.stdout.isTTY === true;
  #lastSign = Date.now();
  /** @type {NodeJS.Timeout | null} */
  #timer = null;

  /** @param {string} line */
  say(line) {
    this.#clear();
    process.stdout.write(`${line}\n`);
    this.#lastSign = Date.now();
    this.#draw();
  }

  /** @param {string} name */
  begin(name) {
    this.#running.set(name, Date.now());
    this.#timer ??= setInterval(() => this.#tick(), this.#live ? 200 : 1_000).unref();
  }

  /**
   * @param {string} name
   * @param {string} note
   */
  end(name, note) {
    const began = this.#running.get(name) ?? Date.now();
    this.#running.delete(name);
    this.say(`  ✓ ${name.padEnd(18)} ${seconds(Date.now() - began).padStart(8)}   ${note}`.trimEnd());
    if (this.#running.size === 0) this.#stopTimer();
  }

  /** Forgets what was running, after a failure or a stop. */
  clear() {
    this.#clear();
    this.#running.clear();
    this.#stopTimer();
  }

  #stopTimer() {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick() {
    if (this.#live) {
      this.#clear();
      this.#draw();
    } else if (Date.now() - this.#lastSign > 15_000) {
      process.stdout.write(`  … ${this.#list()}\n`);
      this.#lastSign = Date.now();
    }
  }

  #list() {
    return [...this.#running]
      .map(([name, began]) => `${name} (${Math.round((Date.now() - began) / 1000)} s)`)
      .join(", ");
  }

  #draw() {
    if (this.#live && this.#running.size > 0)
      process.stdout.write(`  … ${this.#list()}`.slice(0, (process.stdout.columns ?? 80) - 1));
  }

  #clear() {
    if (this.#live) process.stdout.write("\r\u001b[2K");
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function describeFailure(error) {
  if (!(error instanceof Failure))
    return `✗ ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  const lines = [`✗ ${error.message}`];
  if (error.tail.length > 0) lines.push(...error.tail.map((line) => `    │ ${line}`));
  if (error.logFile !== "") lines.push(`    the whole log: ${path.relative(process.cwd(), error.logFile)}`);
  if (error.advice !== "") lines.push(`  → ${error.advice}`);
  return lines.join("\n");
}
