import path from "node:path";
import { installedStep, installSteps, modelSteps, webStep } from "../bootstrap/bootstrap.mjs";
import { toolEnvironment } from "../bootstrap/environment.mjs";
import { checkPlatform, findPython } from "../bootstrap/versions.mjs";
import { webStamp } from "../bootstrap/web-build.mjs";
import { Failure } from "../lib/failure.mjs";
import { layoutFrom } from "../lib/layout.mjs";
import { takeLock } from "../lib/lock.mjs";
import { Run } from "../lib/run.mjs";
import { runSteps } from "../lib/steps.mjs";
import { stackEnvironment } from "./environment.mjs";
import { checkPorts } from "./ports.mjs";
import { restartOnNewBuild } from "./reload.mjs";
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
 * A run in this checkout that touches no data folder's services: it may go on beside a running stack.
 * @param {{ env: NodeJS.ProcessEnv, progress: import("../lib/progress.mjs").Progress, data?: string }} options
 */
export function openWorkspace({ env, progress, data }) {
  checkPlatform(process.platform);
  const python = findPython(env);
  const layout = layoutFrom(env, { data });
  const run = new Run({ reaperLog: path.join(layout.logs, "reaper.log"), say: (line) => progress.say(line) });
  return { run, layout, python, progress, toolEnv: toolEnvironment(env) };
}

/**
 * Takes the data folder and gets everything ready to start: who we are, where things lie, which ports are ours.
 * @param {StackOptions} options
 */
export async function openStack(options) {
  const env = { ...options.env };
  if (options.ownDatabase === false) for (const name of ["DATABASE_URL", "REDIS_URL"]) delete env[name];
  const workspace = openWorkspace({ env, progress: options.progress, data: options.data });
  const { run, layout, toolEnv } = workspace;
  const taken = await takeLock(layout.lockFile, { what: options.what, run: run.id, say: run.say });
  if ("heldBy" in taken) {
    await run.stop();
    throw heldFailure(layout.data, taken.heldBy);
  }
  run.holds(taken.lock);
  const secrets = loadSecrets(layout.data);
  const stackEnv = stackEnvironment(toolEnv, layout, secrets);
  return {
    ...workspace,
    secrets,
    stackEnv,
    embedded: { postgres: !env.DATABASE_URL, redis: !env.REDIS_URL },
    dev: options.dev ?? false,
    durable: options.durable ?? true,
    webBuild: !options.dev,
    /** @type {Map<string, import("./service.mjs").Service>} */
    services: new Map(),
  };
}

/** @typedef {Awaited<ReturnType<typeof openStack>>} Stack */

/**
 * @param {Pick<Stack, "progress" | "run">} workspace
 * @param {import("../lib/steps.mjs").Step[]} steps
 * @param {{ stopOnFailure: boolean }} [how] a test run goes on to its other suites
 */
export async function perform({ progress, run }, steps, how = { stopOnFailure: true }) {
  const onFailure = async () => (how.stopOnFailure ? run.stop() : undefined);
  await runSteps(steps, { progress, signal: run.signal, onFailure });
}

/**
 * Bootstraps and starts everything, each step as soon as it can begin.
 * @param {Stack} stack
 */
export async function startAll(stack) {
  await checkStackPorts(stack);
  await perform(stack, [
    ...installSteps(stack),
    ...modelSteps(stack),
    ...(stack.webBuild ? [webStep(stack)] : []),
    installedStep(stack, ["prisma client", "base model", "kernels", ...(stack.webBuild ? ["web build"] : [])]),
    ...dataSteps(stack),
    ...appSteps(stack),
  ]);
  if (!stack.webBuild) return;
  const restart = () => stack.services.get("web")?.restart();
  restartOnNewBuild({ stamp: webStamp(stack.layout.repo), signal: stack.run.signal, restart });
}

/** @param {Stack} stack */
export async function checkStackPorts(stack) {
  const { postgres, redis, ...apps } = stack.layout.ports;
  await checkPorts({
    ...apps,
    ...(stack.embedded.postgres ? { postgres } : {}),
    ...(stack.embedded.redis ? { redis } : {}),
  });
}

/**
 * @param {string} data
 * @param {import("../lib/lock.mjs").Holder} holder
 */
function heldFailure(data, holder) {
  return new Failure(
    `${holder.what} (pid ${holder.pid}, since ${holder.since}) already runs on the data folder ${data}.`,
    {
      advice: `Use that one, stop it with Ctrl-C in its terminal (or: kill ${holder.pid}), or start a second stack with its own folder and ports: GROVE_DATA=.data-two GROVE_PORT_BASE=4700 npm run demo`,
    },
  );
}
