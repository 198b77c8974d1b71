import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { tailOf } from "../lib/files.mjs";
import { pythonPaths } from "./python-packages.mjs";

/** @param {import("./context.mjs").BootstrapContext & { stackEnv: NodeJS.ProcessEnv }} context */
export async function prepareBaseModel({ run, layout, stackEnv }) {
  const base = stackEnv.GROVE_BASE_MODEL_PATH ?? "";
  // the folder appears by one rename, so its being there means that it is whole
  if (fs.existsSync(path.join(base, "config.json"))) return "already there";
  const logFile = path.join(layout.logs, "base-model.log");
  await runCommand(run, {
    name: "base model",
    command: pythonPaths(layout.repo).python,
    args: ["-m", "lora_py.base_model", "--out", base],
    cwd: layout.repo,
    env: stackEnv,
    logFile,
    limitMs: 15 * 60_000,
  });
  return tailOf(logFile, 1)[0] ?? "";
}
