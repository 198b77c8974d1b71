import { readIfThere, tailOf } from "../lib/files.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/**
 * A suite that left no report did not run to its end: that is one failure, never "nothing to report".
 * @type {Counts}
 */
const noReport = { passed: 0, failed: 1, skipped: 0 };

/**
 * @param {string} file written by pytest --junitxml
 * @returns {Counts}
 */
export function junitCounts(file) {
  const suite = /<testsuite\b[^>]*>/.exec(readIfThere(file) ?? "")?.[0];
  if (suite === undefined) return noReport;
  const count = (/** @type {string} */ name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  const skipped = count("skipped");
  return { passed: count("tests") - failed - skipped, failed, skipped };
}

/**
 * @param {string} file written by vitest --reporter=json
 * @returns {Counts}
 */
export function vitestCounts(file) {
  const text = readIfThere(file);
  if (text === null) return noReport;
  try {
    const report = JSON.parse(text);
    // a test file that can't even be loaded has no tests to count, and is a failure all the same
    const broken = report.testResults.filter(
      (/** @type {{ status: string, assertionResults: unknown[] }} */ result) =>
        result.status === "failed" && result.assertionResults.length === 0,
    ).length;
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests + broken,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } catch {
    return noReport;
  }
}

/**
 * @param {string} file a log that ends with a line `N passed, N failed`
 * @returns {Counts}
 */
export function closingLineCounts(file) {
  const found = /^(\d+) passed, (\d+) failed\s*$/.exec(tailOf(file, 1)[0] ?? "");
  return found === null ? noReport : { passed: Number(found[1]), failed: Number(found[2]), skipped: 0 };
}

/**
 * An exit status that says "failed" is believed even where every counted test passed, and a suite in which nothing
 * ran has not shown anything.
 * @param {Counts} counts
 * @param {number} exitCode
 * @returns {Counts}
 */
export function judged(counts, exitCode) {
  const nothingRan = counts.passed + counts.failed === 0;
  if ((exitCode !== 0 && counts.failed === 0) || nothingRan) return { ...counts, failed: counts.failed + 1 };
  return counts;
}
