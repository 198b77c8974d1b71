import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { hashOf } from "../lib/files.mjs";
import { isFresh, redo } from "./stamp.mjs";

export const pnpm = "pnpm@10.34.9";

/** @param {string} repo */
function manifests(repo) {
  const folders = ["apps", "packages"].flatMap((parent) =>
    fs.existsSync(path.join(repo, parent))
      ? fs
          .readdirSync(path.join(repo, parent))
          .sort()
          .map((name) => path.join(repo, parent, name))
      : [],
  );
  const own = ["package.json", "pnpm-workspace.yaml", "pnpm-lock.yaml", ".npmrc"].map((name) => path.join(repo, name));
  return [...own, ...folders.map((folder) => path.join(folder, "package.json")).filter((file) => fs.existsSync(file))];
}

/** @param {string} repo */
export function nodePackagesInputs(repo) {
  return hashOf(repo, manifests(repo), [pnpm, process.platform, process.arch, process.versions.modules]);
}

/** @param {string} repo */
export function nodePackagesFresh(repo) {
  return isFresh(path.join(repo, "node_modules/.grove-stamp"), nodePackagesInputs(repo));
}

/** @param {import("./context.mjs").BootstrapContext} context */
export async function installNodePackages({ run, layout, toolEnv }) {
  const { repo } = layout;
  if (nodePackagesFresh(repo)) return "already there";
  const stamp = path.join(repo, "node_modules/.grove-stamp");
  await redo(stamp, nodePackagesInputs(repo), () =>
    runCommand(run, {
      name: "pnpm install",
      command: "npx",
      // pnpm finishes what an interrupted install left; it must not stop to ask whether it may
      args: ["-y", pnpm, "install", "--frozen-lockfile", "--config.confirm-modules-purge=false"],
      cwd: repo,
      env: toolEnv,
      logFile: path.join(layout.logs, "install-node.log"),
      limitMs: 20 * 60_000,
    }),
  );
  return "pnpm install";
}
