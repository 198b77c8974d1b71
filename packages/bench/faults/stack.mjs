import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { exitCodeOf } from "../../../infra/local/lib/command.mjs";
import { findFreeBase } from "../../../infra/local/stack/ports.mjs";
import { appSteps, dataSteps } from "../../../infra/local/stack/services.mjs";
import { checkStackPorts, openStack, perform } from "../../../infra/local/stack/stack.mjs";

/** A lost worker is noticed after seconds instead of the product's 15 and 30, or the bench would mostly wait. */
const impatience = { GROVE_WORKER_STALE_MS: "5000", GROVE_WORKER_SWEEP_MS: "1000", GROVE_WORKER_LOCK_MS: "5000" };
const steps = new Set(["postgres", "redis", "migrations", "serving", "gateway", "worker"]);

/** @typedef {Awaited<ReturnType<typeof startStack>>} FaultStack */

/**
 * A stack of its own: processes, ports, data. As root the data folder and the jobs' folder in it are small disks of
 * their own, which can be filled without harm to anybody else.
 * @param {{ folder: string, progress: import("../../../infra/local/lib/progress.mjs").Progress }} options
 */
export async function startStack({ folder, progress }) {
  const data = path.join(folder, "data");
  const base = path.join(folder, "base");
  const disks = prepareDisks(data);
  const env = {
    ...process.env,
    ...impatience,
    GROVE_DATA: data,
    GROVE_PORT_BASE: process.env.GROVE_PORT_BASE || String(await findFreeBase([0, 1, 2, 10, 11])),
    GROVE_BASE_MODEL: "tiny",
    GROVE_BASE_MODEL_PATH: base,
  };
  const stack = await openStack({ what: "pnpm bench faults", progress, env, ownDatabase: false });
  const end = () => stack.run.stop();
  process.on("exit", () => releaseDisks(data)); // after Ctrl-C too
  try {
    const python = stack.stackEnv.GROVE_PYTHON ?? "";
    const args = ["-c", `from pathlib import Path; from lora_py.tiny_base import *; write_tiny_base(Path("${base}"))`];
    const logFile = path.join(stack.layout.logs, "tiny-base.log");
    const made = { name: "tiny base", command: python, args, cwd: folder, env: stack.stackEnv, logFile };
    if ((await exitCodeOf(stack.run, { ...made, limitMs: 120_000 })) !== 0) throw new Error(`No base: see ${logFile}`);
    await checkStackPorts(stack);
    const wanted = [...dataSteps(stack), ...appSteps(stack)].filter((step) => steps.has(step.name));
    await perform(
      stack,
      wanted.map((step) => ({ ...step, needs: step.needs?.filter((name) => steps.has(name)) ?? [] })),
    );
    return { stack, data, disks, end };
  } catch (error) {
    await end();
    throw error;
  }
}

const sizes = { data: "400m", work: "12m" };

/** @param {string} data */
const workOf = (data) => path.join(data, "work");

/**
 * @param {string} data
 * @returns {boolean} whether these are disks of their own
 */
function prepareDisks(data) {
  releaseDisks(data);
  fs.rmSync(data, { recursive: true, force: true });
  fs.mkdirSync(data, { recursive: true });
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  try {
    mount(data, sizes.data);
    fs.mkdirSync(workOf(data));
    mount(workOf(data), sizes.work);
    return true;
  } catch {
    releaseDisks(data);
    return false; // a container without the right to mount
  }
}

/**
 * @param {string} folder
 * @param {string} size
 */
function mount(folder, size) {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=755`, "grove-faults", folder], { stdio: "ignore" });
}

/** @param {string} data */
function releaseDisks(data) {
  const mounted = () => fs.readFileSync("/proc/mounts", "utf8");
  if (process.platform !== "linux") return;
  for (const folder of [workOf(data), data]) {
    if (mounted().includes(` ${folder} `)) execFileSync("umount", ["-l", folder]);
  }
}
