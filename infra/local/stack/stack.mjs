import path from "node:path";
import { bootstrapSteps } from "../bootstrap/bootstrap.mjs";
import { toolEnvironment } from "../bootstrap/environment.mjs";
import { checkPlatform, findPython } from "../bootstrap/versions.mjs";
import { Failure } from "../lib/failure.mjs";
import { layoutFrom } from "../lib/layout.mjs";
import { takeLock } from "../lib/lock.mjs";
import { Run } from "../lib/run.mjs";
import { runSteps } from "../lib/steps.mjs";
import { stackEnvironment } from "./environment.mjs";
import { checkPorts } from "./ports.mjs";
import { loadSecrets } from "./secrets.mjs";
import { appSteps, dataSteps } from "./services.mjs";

/**
 * @typedef {object} StackOptions
 * @property {string} what the command, for the message to whoever starts a second one
 * @property {import("../lib/progress.mjs").Progress} progress
 * @property {NodeJS.ProcessEnv} env
 * @property {string} [data] the default data folder
 * @property {boolean} [dev]
 * @property {boolean} [durable]
 * @property {boolean} [ownDatabase] false: DATABASE_URL and REDIS_URL of the environment are not used, even if set
 */

/**
 * Takes the data folder and gets everything ready to start: who we are, where things lie, which ports are ours.
 * @param {StackOptions} options
 */
export async function openStack(options) {
  checkPlatform(process.platform);
  const python = findPython(options.env);
  const given = { ...options.env };
  if (options.ownDatabase === false) for (const name of ["DATABASE_URL", "REDIS_URL"]) delete given[name];
  const layout = layoutFrom(given, { data: options.data });
  const { progress } = options;
  const run = new Run({ reaperLog: path.join(layout.logs, "reaper.log"), say: (line) => progress.say(line) });
  const taken = await takeLock(layout.lockFile, { what: options.what, run: run.id, say: (line) => progress.say(line) });
  if ("heldBy" in taken) {
    await run.stop();
    throw heldFailure(layout.data, taken.heldBy);
  }
  run.holds(taken.lock);
  const toolEnv = toolEnvironment(given);
  const secrets = loadSecrets(layout.data);
  const stackEnv = stackEnvironment(toolEnv, layout, secrets);
  const embedded = { postgres: !given.DATABASE_URL, redis: !given.REDIS_URL };
  const context = {
    run, layout, toolEnv, python, secrets, stackEnv, embedded, progress,
    dev: options.dev ?? false,
    durable: options.durable ?? true,
    basePath: stackEnv.GROVE_BASE_MODEL_PATH ?? "",
    webBuild: !options.dev,
    services: new Map(),
  };
  return context;
}

/** @typedef {Awaited<ReturnType<typeof openStack>>} Stack */

/**
 * @param {Stack} stack
 * @param {import("../lib/steps.mjs").Step[]} steps
 */
export async function perform(stack, steps) {
  await runSteps(steps, { progress: stack.progress, signal: stack.run.signal, onFailure: () => stack.run.stop() });
}

/**
 * Bootstraps and starts everything, each step as soon as it can begin.
 * @param {Stack} stack
 */
export async function startAll(stack) {
  const { ports } = stack.layout;
  const { postgres, redis, ...apps } = ports;
  await checkPorts({ ...apps, ...(stack.embedded.postgres ? { postgres } : {}), ...(stack.embedded.redis ? { redis } : {}) });
  await perform(stack, [...bootstrapSteps(stack), ...dataSteps(stack), ...appSteps(stack)]);
}

/**
 * @param {string} data
 * @param {import("../lib/lock.mjs").Holder} holder
 */
function heldFailure(data, holder) {
  return new Failure(`${holder.what} (pid ${holder.pid}, since ${holder.since}) already runs on the data folder ${data}.`, {
    advice: `Use that one, stop it with Ctrl-C in its terminal (or: kill ${holder.pid}), or start a second stack with its own folder and ports: GROVE_DATA=.data-two GROVE_PORT_BASE=4700 npm run demo`,
  });
}
