import path from "node:path";
import { waitForLock } from "../lib/lock.mjs";
import { prepareBaseModel } from "./base-model.mjs";
import { checkDisk, inGigabytes, needed } from "./disk.mjs";
import { buildKernels } from "./kernels.mjs";
import { installNodePackages, nodePackagesFresh } from "./node-packages.mjs";
import { generatePrismaClient } from "./prisma-client.mjs";
import { installPythonPackages, pythonPackagesFresh } from "./python-packages.mjs";
import { buildWeb } from "./web-build.mjs";

/**
 * The steps that make a checkout ready to run are shared by every data folder. They hold one lock, so two runs in the
 * same checkout install once: the second waits and finds everything there. `installedStep` gives it back.
 * @typedef {import("./context.mjs").BootstrapContext} BootstrapContext
 * @typedef {import("../lib/steps.mjs").Step} Step
 */

/** @param {BootstrapContext} context */
const installLockFile = ({ layout }) => path.join(layout.repo, ".data/install.lock");

/**
 * @param {BootstrapContext} context
 * @returns {Step}
 */
export function lockStep(context) {
  return { name: "install lock", run: () => takeInstallLock(context) };
}

/**
 * Node and Python packages, and the code that Prisma generates.
 * @param {BootstrapContext} context
 * @returns {Step[]}
 */
export function installSteps(context) {
  const { layout, python } = context;
  return [
    lockStep(context),
    {
      name: "disk",
      needs: ["install lock"],
      run: async () => {
        const installed = nodePackagesFresh(layout.repo) && pythonPackagesFresh(layout.repo, python.version);
        const free = checkDisk(layout.repo, installed ? needed.start : needed.install);
        checkDisk(layout.data, needed.start);
        return `${inGigabytes(free)} free`;
      },
    },
    { name: "node packages", needs: ["disk"], run: () => installNodePackages(context) },
    { name: "python packages", needs: ["disk"], run: () => installPythonPackages(context) },
    { name: "prisma client", needs: ["node packages"], run: () => generatePrismaClient(context) },
  ];
}

/**
 * @param {BootstrapContext & { stackEnv: NodeJS.ProcessEnv }} context
 * @returns {Step[]}
 */
export function modelSteps(context) {
  return [
    { name: "base model", needs: ["python packages"], run: () => prepareBaseModel(context) },
    { name: "kernels", needs: ["python packages"], run: () => buildKernels(context) },
  ];
}

/**
 * @param {BootstrapContext & { stackEnv: NodeJS.ProcessEnv }} context
 * @returns {Step}
 */
export function webStep(context) {
  return { name: "web build", needs: ["prisma client"], run: () => buildWeb(context) };
}

/**
 * @param {BootstrapContext} context
 * @param {string[]} needs every step that writes to the checkout
 * @returns {Step}
 */
export function installedStep(context, needs) {
  return { name: "installed", needs, run: async () => context.run.releases(installLockFile(context)) };
}

/** @param {BootstrapContext} context */
async function takeInstallLock(context) {
  const { run, layout } = context;
  const lock = await waitForLock(installLockFile(context), {
    what: `the installation for ${layout.data}`,
    run: run.id,
    say: run.say,
    signal: run.signal,
    onWait: (holder) =>
      run.say(`  … waiting for pid ${holder.pid}, which is busy with ${holder.what} since ${holder.since}`),
  });
  run.holds(lock);
}
