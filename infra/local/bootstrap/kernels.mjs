import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { filesBelow, hashOf, tailOf } from "../lib/files.mjs";
import { pythonPaths } from "./python-packages.mjs";
import { isFresh, redo } from "./stamp.mjs";

/**
 * Compiles the native kernels where a compiler is at hand. Without them the engine runs their plain twins in torch,
 * slower and with the same answers; so a machine without a compiler is told, not refused.
 * @param {import("./context.mjs").BootstrapContext & { stackEnv: NodeJS.ProcessEnv }} context
 */
export async function buildKernels({ run, layout, stackEnv }) {
  const { repo } = layout;
  const folder = path.join(repo, "packages/lora-py/lora_py/kernels");
  const sources = filesBelow(folder, (name) => name === "__pycache__" || name.startsWith("."));
  const stamp = path.join(repo, ".venv/.grove-kernels");
  // a compiler that arrives later, or another processor, is a reason to try again
  const machine = [process.arch, os.cpus()[0]?.model ?? "", stackEnv.CXX ?? "", ...compilers()];
  const inputs = hashOf(repo, sources, machine);
  if (isFresh(stamp, inputs)) return "already there";
  const logFile = path.join(layout.logs, "kernels.log");
  await redo(stamp, inputs, () =>
    runCommand(run, {
      name: "kernels",
      command: pythonPaths(repo).python,
      args: ["-m", "lora_py.kernels"],
      cwd: repo,
      env: stackEnv,
      logFile,
      limitMs: 10 * 60_000,
    }),
  );
  const said = tailOf(logFile, 1)[0] ?? "";
  return fs.existsSync(said) ? "compiled" : said;
}

function compilers() {
  return ["g++", "clang++", "c++"].filter((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
}
