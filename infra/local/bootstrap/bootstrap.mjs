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
 * The steps that make a checkout ready to run, shared by every data folder. They hold one lock, so two runs in the
 * same checkout install once: the second waits and finds everything there.
 * @param {import("./context.mjs").BootstrapContext & { stackEnv: NodeJS.ProcessEnv, basePath: string, webBuild: boolean }} context
 * @returns {import("../lib/steps.mjs").Step[]}
 */
export function bootstrapSteps(context) {
  const { run, layout, python } = context;
  const pythonContext = { ...context, pythonEnv: context.stackEnv };
  /** @type {import("../lib/lock.mjs").Lock | null} */
  let lock = null;
  const last = ["prisma client", "base model", "kernels", ...(context.webBuild ? ["web build"] : [])];

  return [
    {
      name: "install lock",
      run: async () => {
        lock = await waitForLock(path.join(layout.repo, ".data/install.lock"), {
          what: `the installation for ${layout.data}`,
          run: run.id,
          say: run.say,
          signal: run.signal,
          onWait: (holder) => run.say(`  … waiting for pid ${holder.pid}, which is busy with ${holder.what} since ${holder.since}`),
        });
        run.holds(lock);
      },
    },
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
    { name: "base model", needs: ["python packages"], run: () => prepareBaseModel(pythonContext) },
    { name: "kernels", needs: ["python packages"], run: () => buildKernels(pythonContext) },
    ...(context.webBuild ? [{ name: "web build", needs: ["prisma client"], run: () => buildWeb({ ...context, appEnv: context.stackEnv }) }] : []),
    {
      name: "installed",
      needs: last,
      run: async () => {
        if (lock !== null) run.releases(lock);
      },
    },
  ];
}
