import fs from "node:fs";
import path from "node:path";
import { exitCodeOf } from "../lib/command.mjs";
import { filesBelow, hashOf } from "../lib/files.mjs";
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
  if (!fs.existsSync(path.join(folder, "build.py"))) return "none in this version";
  const sources = filesBelow(folder, (name) => name === "__pycache__" || name.endsWith(".so") || name.startsWith("."));
  const stamp = path.join(repo, ".venv/.grove-kernels");
  const inputs = hashOf(repo, sources, [process.platform, process.arch]);
  if (isFresh(stamp, inputs)) return "already there";
  const logFile = path.join(layout.logs, "kernels.log");
  fs.rmSync(logFile, { force: true });
  let note = "compiled";
  await redo(stamp, inputs, async () => {
    const code = await exitCodeOf(run, {
      name: "kernels",
      command: pythonPaths(repo).python,
      args: ["-m", "lora_py.kernels.build"],
      cwd: repo,
      env: stackEnv,
      logFile,
      limitMs: 10 * 60_000,
    });
    if (code !== 0) note = `not compiled, the plain torch twins are used (${path.relative(repo, logFile)})`;
  });
  return note;
}
