import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { installedStep, installSteps, lockStep, modelSteps, webStep } from "../bootstrap/bootstrap.mjs";
import { pythonPaths } from "../bootstrap/python-packages.mjs";
import { explain, Failure, Stopped } from "../lib/failure.mjs";
import { describeFailure, Progress } from "../lib/progress.mjs";
import { findFreeBase } from "../stack/ports.mjs";
import { appSteps, dataSteps } from "../stack/services.mjs";
import { checkStackPorts, openStack, perform } from "../stack/stack.mjs";
import { ensureChromium } from "../testing/chromium.mjs";
import { runChecks } from "../testing/run-checks.mjs";
import { runSuite, tellResult, tellTotals } from "../testing/suite.mjs";
import { browserSuite, pytestSuite, pythonSuites, typescriptSuite } from "../testing/suites.mjs";

const suiteNames = ["check", ...Object.keys(pythonSuites), "typescript", "browser"];

/** @param {string[]} args */
export async function test(args) {
  const began = Date.now();
  const chosen = parseTestArgs(args);
  const progress = new Progress();
  const stack = await openTestStack(progress);
  const say = (/** @type {string} */ line) => progress.say(line);
  try {
    const results = await prepared(stack, chosen);
    if (results.length > 0) chosen.length = 0; // without its packages no suite can run
    for (const name of chosen) {
      say(`${name}`);
      results.push(...(await runNamed(name, stack, say)));
    }
    if (tellTotals(results, Date.now() - began, say) > 0) process.exitCode = 1;
  } finally {
    progress.clear();
    await stack.run.stop();
  }
}

/**
 * @param {string[]} args
 * @returns {string[]} the suites to run, in order
 */
export function parseTestArgs(args) {
  const advice = `Usage: npm test -- [--only ${suiteNames.join(" | ")}]`;
  try {
    const { values } = parseArgs({ args, options: { only: { type: "string", multiple: true } }, strict: true });
    const only = values.only ?? suiteNames;
    const unknown = only.find((name) => !suiteNames.includes(name));
    if (unknown !== undefined) throw new Failure(`There is no suite ${JSON.stringify(unknown)}.`, { advice });
    return suiteNames.filter((name) => only.includes(name));
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(error instanceof Error ? error.message : String(error), { advice });
  }
}

/**
 * A data folder and ports of its own, so that tests never touch a stack that runs, and an empty database.
 * @param {Progress} progress
 */
async function openTestStack(progress) {
  // GROVE_DATA names the person's own data; the tests empty theirs, so they take another variable
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, GROVE_DATA: process.env.GROVE_TEST_DATA ?? ".data-test" };
  if (!env.GROVE_PORT_BASE) env.GROVE_PORT_BASE = String(await findFreeBase([0, 1, 2, 10, 11]));
  const stack = await openStack({ what: "npm test", progress, env, ownDatabase: false, durable: false });
  for (const name of ["postgres", "redis", "store"]) {
    fs.rmSync(path.join(stack.layout.data, name), { recursive: true, force: true });
  }
  return stack;
}

/**
 * A bootstrap that fails is a failed run with a closing line, like any other.
 * @param {import("../stack/stack.mjs").Stack} stack
 * @param {string[]} chosen
 * @returns {Promise<import("../testing/suite.mjs").SuiteResult[]>}
 */
async function prepared(stack, chosen) {
  const began = Date.now();
  try {
    await prepare(stack, chosen);
    return [];
  } catch (error) {
    if (error instanceof Stopped) throw error;
    stack.progress.say(describeFailure(explain(error)));
    const counts = { passed: 0, failed: 1, skipped: 0 };
    return [{ name: "bootstrap", counts, ms: Date.now() - began, logFile: stack.layout.logs }];
  }
}

/**
 * @param {import("../stack/stack.mjs").Stack} stack
 * @param {string[]} chosen
 */
async function prepare(stack, chosen) {
  const install = installSteps(stack);
  const models = chosen.some((name) => name !== "check") ? modelSteps(stack) : [];
  const writers = [...install, ...models].map((step) => step.name);
  await perform(stack, [...install, ...models, installedStep(stack, writers)]);
}

/**
 * @param {string} name
 * @param {import("../stack/stack.mjs").Stack} stack
 * @param {(line: string) => void} say
 * @returns {Promise<import("../testing/suite.mjs").SuiteResult[]>}
 */
async function runNamed(name, stack, say) {
  const { run, layout, toolEnv, stackEnv } = stack;
  const context = { run, logs: layout.logs, repo: layout.repo, env: stackEnv, python: pythonPaths(layout.repo).python };
  if (name === "check") return runChecks({ ...context, env: toolEnv }, say);
  const result = await orFailed(name, context.logs, () => {
    if (name === "typescript") return runTypescript(stack, context);
    if (name === "browser") return runBrowser(stack, context);
    return runSuite(context, pytestSuite(/** @type {keyof typeof pythonSuites} */ (name), context));
  });
  tellResult(result, say);
  return [result];
}

/**
 * Whatever keeps a suite from running (no browser, a server that does not start) is the failure of that suite.
 * @param {string} name
 * @param {string} logs
 * @param {() => Promise<import("../testing/suite.mjs").SuiteResult>} work
 */
async function orFailed(name, logs, work) {
  const began = Date.now();
  try {
    return await work();
  } catch (error) {
    if (error instanceof Stopped) throw error;
    const logFile = path.join(logs, `test-${name}.log`);
    fs.writeFileSync(logFile, `${describeFailure(explain(error))}\n`);
    return { name, counts: { passed: 0, failed: 1, skipped: 0 }, ms: Date.now() - began, logFile };
  }
}

/** @typedef {import("../testing/suites.mjs").SuiteContext & { run: import("../lib/run.mjs").Run }} Context */

/**
 * @param {import("../stack/stack.mjs").Stack} stack
 * @param {Context} context
 */
async function runTypescript(stack, context) {
  await startData(stack);
  return runSuite(context, typescriptSuite(context));
}

/**
 * The whole line in a real browser against the whole stack.
 * @param {import("../stack/stack.mjs").Stack} stack
 * @param {Context} context
 */
async function runBrowser(stack, context) {
  const began = Date.now();
  const chromium = await ensureChromium({ run: stack.run, logs: context.logs, env: stack.toolEnv });
  const build = [lockStep(stack), { ...webStep(stack), needs: ["install lock"] }, installedStep(stack, ["web build"])];
  await perform(stack, build, { stopOnFailure: false });
  await startData(stack);
  const apps = appSteps(stack).map((step) => ({ ...step, needs: [] }));
  await perform(stack, apps, { stopOnFailure: false });
  const result = await runSuite(context, browserSuite({ ...context, chromium }));
  return { ...result, ms: Date.now() - began };
}

/**
 * Postgres, Redis and the schema, once for both suites that need them.
 * @param {import("../stack/stack.mjs").Stack} stack
 */
async function startData(stack) {
  if (stack.services.has("postgres")) return;
  await checkStackPorts(stack);
  const own = new Set(["postgres", "redis", "migrations"]);
  const steps = dataSteps(stack).map((step) => ({ ...step, needs: step.needs?.filter((name) => own.has(name)) ?? [] }));
  await perform(stack, steps, { stopOnFailure: false });
}
