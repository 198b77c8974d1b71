import fs from "node:fs";
import path from "node:path";
import { exitCodeOf } from "../lib/command.mjs";
import { Stopped } from "../lib/failure.mjs";
import { tailOf } from "../lib/files.mjs";
import { describeFailure, seconds } from "../lib/progress.mjs";
import { judged } from "./counts.mjs";

/**
 * @typedef {import("./counts.mjs").Counts} Counts
 * @typedef {{ name: string, counts: Counts, ms: number, logFile: string }} SuiteResult
 * @typedef {object} SuiteSpec
 * @property {string} name
 * @property {string} command
 * @property {string[]} args
 * @property {string} cwd
 * @property {NodeJS.ProcessEnv} env
 * @property {number} limitMs
 * @property {string} [report] the file that the suite writes its results to
 * @property {(exitCode: number) => Counts} count
 */

/**
 * Runs one suite to its end, whatever happens in it.
 * @param {{ run: import("../lib/run.mjs").Run, logs: string }} context
 * @param {SuiteSpec} spec
 * @returns {Promise<SuiteResult>}
 */
export async function runSuite({ run, logs }, spec) {
  const began = Date.now();
  const logFile = path.join(logs, `test-${spec.name}.log`);
  for (const file of [logFile, spec.report]) if (file !== undefined) fs.rmSync(file, { force: true });
  /** @type {Counts} */
  let counts;
  try {
    const code = await exitCodeOf(run, { ...spec, logFile });
    counts = judged(spec.count(code), code);
  } catch (error) {
    if (error instanceof Stopped) throw error;
    fs.appendFileSync(logFile, `${describeFailure(error)}\n`);
    counts = { passed: 0, failed: 1, skipped: 0 };
  }
  return { name: spec.name, counts, ms: Date.now() - began, logFile };
}

/**
 * @param {SuiteResult} result
 * @param {(line: string) => void} say
 */
export function tellResult(result, say) {
  const { counts, name, ms, logFile } = result;
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  const sign = counts.failed === 0 ? "✓" : "✗";
  say(
    `  ${sign} ${name.padEnd(18)} ${seconds(ms).padStart(8)}   ${counts.passed} passed, ${counts.failed} failed${skipped}`,
  );
  if (counts.failed === 0) return;
  for (const line of tailOf(logFile, 40)) say(`    │ ${line}`);
  say(`    the whole log: ${path.relative(process.cwd(), logFile)}`);
}

/**
 * @param {SuiteResult[]} results
 * @param {number} ms
 * @param {(line: string) => void} say
 * @returns {number} how many failed
 */
export function tellTotals(results, ms, say) {
  say("");
  say(
    `  ${"suite".padEnd(18)} ${"passed".padStart(7)} ${"failed".padStart(7)} ${"skipped".padStart(8)} ${"time".padStart(9)}`,
  );
  for (const { name, counts, ms: took } of results) {
    say(
      `  ${name.padEnd(18)} ${String(counts.passed).padStart(7)} ${String(counts.failed).padStart(7)} ${String(counts.skipped).padStart(8)} ${seconds(took).padStart(9)}`,
    );
  }
  const total = (/** @type {keyof Counts} */ key) => results.reduce((sum, result) => sum + result.counts[key], 0);
  say(`  ${"all".padEnd(18)} ${"".padStart(24)} ${seconds(ms).padStart(9)}`);
  say(`${total("passed")} passed, ${total("failed")} failed`);
  return total("failed");
}
