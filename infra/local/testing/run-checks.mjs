import path from "node:path";
import { checks } from "./checks.mjs";
import { runSuite, tellResult } from "./suite.mjs";

const atOnce = 2;

/**
 * Runs every check, failed ones or not, so that one run tells everything.
 * @param {{ run: import("../lib/run.mjs").Run, logs: string, repo: string, env: NodeJS.ProcessEnv, python: string }} context
 * @param {(line: string) => void} say
 */
export async function runChecks({ run, logs, repo, env, python }, say) {
  const waiting = checks(repo, python);
  /** @type {import("./suite.mjs").SuiteResult[]} */
  const results = [];
  // turbo looks for pnpm on the PATH, and only the checkout is sure to have one
  const searchPath = `${path.join(repo, "node_modules/.bin")}:${env.PATH ?? ""}`;
  const shared = path.join(repo, "packages/lora-py"); // what trainer and serving import
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const spec = {
        ...next,
        env: { ...env, PATH: searchPath, MYPYPATH: shared, NO_COLOR: "1" },
        limitMs: 10 * 60_000,
        count,
      };
      const result = await runSuite({ run, logs }, spec);
      tellResult(result, say);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return results;
}

/** @param {number} exitCode */
function count(exitCode) {
  return { passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 };
}
