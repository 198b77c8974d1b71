import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { closingLineCounts, judged, junitCounts, vitestCounts } from "./counts.mjs";
import { temporaryFolder } from "./temporary.mjs";

/** @param {string} content */
function file(content) {
  const name = path.join(temporaryFolder(), "report");
  fs.writeFileSync(name, content);
  return name;
}

it("reads pytest's report, errors being failures", () => {
  const report =
    '<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.0">';
  expect(junitCounts(file(report))).toEqual({ passed: 4, failed: 3, skipped: 3 });
});

it("reads vitest's report, a file that can't be loaded being a failure", () => {
  const testResults = [
    { status: "failed", assertionResults: [] },
    { status: "passed", assertionResults: [{}] },
  ];
  const report = { numPassedTests: 5, numFailedTests: 1, numPendingTests: 1, numTodoTests: 0, testResults };
  expect(vitestCounts(file(JSON.stringify(report)))).toEqual({ passed: 5, failed: 2, skipped: 1 });
});

it("reads a closing line, and only where it closes the log", () => {
  expect(closingLineCounts(file("1 passed, 7 failed\nstep 2\n12 passed, 1 failed\n"))).toMatchObject({
    passed: 12,
    failed: 1,
  });
  expect(closingLineCounts(file("12 passed, 0 failed\nError: the browser went away\n"))).toMatchObject({
    passed: 0,
    failed: 1,
  });
});

it("takes a missing or broken report for a failure", () => {
  expect(junitCounts("/nowhere")).toMatchObject({ failed: 1 });
  expect(vitestCounts("/nowhere")).toMatchObject({ failed: 1 });
  expect(vitestCounts(file("{"))).toMatchObject({ failed: 1 });
  expect(junitCounts(file("<html>"))).toMatchObject({ failed: 1 });
});

it("believes a bad exit status over good counts, and a suite in which nothing ran is not a success", () => {
  expect(judged({ passed: 5, failed: 0, skipped: 0 }, 1).failed).toBe(1);
  expect(judged({ passed: 0, failed: 0, skipped: 9 }, 0).failed).toBe(1);
  expect(judged({ passed: 5, failed: 2, skipped: 0 }, 1).failed).toBe(2);
});
