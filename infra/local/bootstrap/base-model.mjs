import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { tailOf } from "../lib/files.mjs";
import { pythonPaths } from "./python-packages.mjs";

/** @param {import("./context.mjs").BootstrapContext & { pythonEnv: NodeJS.ProcessEnv, basePath: string }} context */
export async function prepareBaseModel({ run, layout, pythonEnv, basePath }) {
  // the folder appears by one rename, so its being there means that it is whole
  if (fs.existsSync(path.join(basePath, "config.json"))) return "already there";
  const logFile = path.join(layout.logs, "base-model.log");
  await runCommand(run, {
    name: "base model",
    command: pythonPaths(layout.repo).python,
    args: ["-m", "lora_py.base_model", "--out", basePath],
    cwd: layout.repo,
    env: pythonEnv,
    logFile,
    limitMs: 15 * 60_000,
  });
  return tailOf(logFile, 1)[0] ?? "";
}
