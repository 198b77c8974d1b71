import path from "node:path";
import { closingLineCounts, junitCounts, vitestCounts } from "./counts.mjs";

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
    limitMs: 25 * 60_000,
    report,
    count: () => junitCounts(report),
  };
}

/**
 * Every TypeScript package and the tests of this folder.
 * @param {SuiteContext} context
 * @returns {import("./suite.mjs").SuiteSpec}
 */
export function typescriptSuite({ repo, logs, env }) {
  const report = path.join(logs, "test-typescript.json");
  const vitest = path.join(repo, "node_modules/vitest/vitest.mjs");
  return {
    name: "typescript",
    command: process.execPath,
    args: [vitest, "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`],
    cwd: repo,
    env: { ...env, NODE_ENV: "test", CI: "1", NO_COLOR: "1" },
    limitMs: 25 * 60_000,
    report,
    count: () => vitestCounts(report),
  };
}

/**
 * The whole line in real Chromium. It is a script of its own with a closing line, since its steps build on each other.
 * @param {SuiteContext & { chromium: string }} context
 * @returns {import("./suite.mjs").SuiteSpec}
 */
export function browserSuite({ repo, logs, env, chromium }) {
  const urls = { WEB_URL: env.GROVE_WEB_URL, GATEWAY_URL: env.GROVE_GATEWAY_URL };
  return {
    name: "browser",
    command: process.execPath,
    args: ["--import", "tsx", path.join(repo, "apps/web/e2e/line.e2e.ts")],
    cwd: path.join(repo, "apps/web"),
    env: { ...env, ...urls, CHROMIUM: chromium, SCREENSHOTS: path.join(logs, "screenshots") },
    limitMs: 20 * 60_000,
    count: () => closingLineCounts(path.join(logs, "test-browser.log")),
  };
}
