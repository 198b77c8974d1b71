import fs from "node:fs";
import { Failure, Stopped } from "./failure.mjs";
import { tailOf } from "./files.mjs";
import { killGroup } from "./stop-processes.mjs";

/**
 * @typedef {object} CommandSpec
 * @property {string} name
 * @property {string} command
 * @property {string[]} args
 * @property {string} cwd
 * @property {NodeJS.ProcessEnv} env
 * @property {string} logFile
 * @property {number} limitMs
 * @property {string} [advice]
 * @property {number} [uid]
 * @property {number} [gid]
 */

/**
 * Runs a command to its end with its output in a log file. The message of a failure carries the end of that log.
 * @param {import("./run.mjs").Run} run
 * @param {CommandSpec} spec
 */
export async function runCommand(run, spec) {
  fs.rmSync(spec.logFile, { force: true });
  const code = await exitCodeOf(run, spec);
  if (code === 0) return;
  const tail = tailOf(spec.logFile);
  throw new Failure(`${spec.command.split("/").at(-1)} ${spec.args.slice(0, 4).join(" ")} ended with status ${code}.`, {
    advice: adviceFor(tail.join("\n")) ?? spec.advice ?? "Run the same command again; finished steps are not repeated.",
    logFile: spec.logFile,
    tail,
  });
}

/**
 * @param {import("./run.mjs").Run} run
 * @param {CommandSpec} spec
 * @returns {Promise<number>}
 */
export async function exitCodeOf(run, spec) {
  const child = run.spawn({ ...spec, phase: "install" });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killGroup(child.record.pid);
  }, spec.limitMs);
  const { code, signal } = await child.exited;
  clearTimeout(timer);
  if (run.signal.aborted) throw new Stopped();
  if (late) {
    throw new Failure(`${spec.name} took longer than ${Math.round(spec.limitMs / 60_000)} minutes and was stopped.`, {
      advice: "Run the same command again; finished steps are not repeated.",
      logFile: spec.logFile,
      tail: tailOf(spec.logFile),
    });
  }
  return code ?? (signal === null ? 1 : 137);
}

/**
 * @param {string} output
 * @returns {string | null}
 */
export function adviceFor(output) {
  if (/ENOSPC|No space left on device|disk full/i.test(output)) {
    return "The disk is full: free some space and run the same command again; it goes on where it stopped.";
  }
  if (
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|Temporary failure in name resolution|Read timed out|NewConnectionError/.test(
      output,
    )
  ) {
    return "A package registry could not be reached: check the network or the registry settings of npm and pip, then run the same command again.";
  }
  if (/No matching distribution found/.test(output)) {
    return "This Python or this machine has no build of that package; Grove is tried with Python 3.10 to 3.12: PYTHON=/path/to/python3.11 npm run demo.";
  }
  if (/ERR_PNPM_OUTDATED_LOCKFILE/.test(output)) {
    return "A package.json changed without pnpm-lock.yaml: run `npx -y pnpm@10.34.9 install` and commit the lock file.";
  }
  if (/EACCES|Permission denied/.test(output))
    return "Run as the user who owns this checkout, or give it to yourself with chown -R.";
  return null;
}
