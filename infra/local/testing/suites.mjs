import path from "node:path";
import { junitCounts, vitestCounts } from "./counts.mjs";

/**
 * @typedef {{ repo: string, logs: string, env: NodeJS.ProcessEnv, python: string }} SuiteContext
 */

export const pythonSuites = /** @type {const} */ ({
  "lora-py": "packages/lora-py",
  trainer: "apps/trainer",
  serving: "apps/serving",
});

/**
 * @param {keyof typeof pythonSuites} name
 * @param {SuiteContext} context
 * @returns {import("./suite.mjs").SuiteSpec}
 */
export function pytestSuite(name, { repo, logs, env, python }) {
  const report = path.join(logs, `test-${name}.xml`);
  return {
    name,
    command: python,
    args: ["-m", "pytest", "-q", "-p", "no:cacheprovider", `--junitxml=${report}`],
    cwd: path.join(repo, pythonSuites[name]),
    env,
    limitMs: 15 * 60_000,
    report,
    count: () => junitCounts(report),
  };
}

/**
 * @param {{ name: string, config: string, limitMs: number }} which
 * @param {SuiteContext} context
 * @returns {import("./suite.mjs").SuiteSpec}
 */
export function vitestSuite({ name, config, limitMs }, { repo, logs, env }) {
  const report = path.join(logs, `test-${name}.json`);
  return {
    name,
    command: process.execPath,
    args: [
      path.join(repo, "node_modules/vitest/vitest.mjs"),
      "run",
      "--config",
      path.join(repo, config),
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
    ],
    cwd: repo,
    env: { ...env, NODE_ENV: "test", CI: "1", NO_COLOR: "1" },
    limitMs,
    report,
    count: () => vitestCounts(report),
  };
}
