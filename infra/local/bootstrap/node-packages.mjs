import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { Failure } from "../lib/failure.mjs";
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

/**
 * pnpm is fetched apart from the checkout: asked from inside, npx takes the pnpm that a half-finished install has left
 * in node_modules, and "pnpm: not found" is its answer ever after. The cache of our own is thrown away unless the fetch
 * was seen to end well.
 * @param {import("./context.mjs").BootstrapContext} context
 * @returns {Promise<string>} its program
 */
async function fetchPnpm({ run, layout, toolEnv }) {
  const cache = path.join(layout.repo, ".data/tools/npx");
  const stamp = path.join(cache, ".grove-stamp");
  const inputs = hashOf(layout.repo, [], [pnpm, process.version]);
  const program = programIn(cache);
  if (program !== null && isFresh(stamp, inputs)) return program;
  fs.rmSync(cache, { recursive: true, force: true });
  await redo(stamp, inputs, () =>
    runCommand(run, {
      name: "npx pnpm",
      command: "npx",
      args: ["-y", pnpm, "--version"],
      cwd: "/",
      env: { ...toolEnv, npm_config_cache: cache },
      logFile: path.join(layout.logs, "install-pnpm.log"),
      limitMs: 5 * 60_000,
    }),
  );
  const fetched = programIn(cache);
  if (fetched !== null) return fetched;
  throw new Failure(`npx fetched ${pnpm} without its program.`, {
    advice: `Remove ${cache} and run the same command again.`,
  });
}

/**
 * @param {string} cache of npx, which keeps each package under a hash of its own
 * @returns {string | null}
 */
function programIn(cache) {
  const folder = path.join(cache, "_npx");
  const entries = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  const programs = entries.map((entry) => path.join(folder, entry, "node_modules/pnpm/bin/pnpm.cjs"));
  return programs.find((file) => fs.existsSync(file)) ?? null;
}

/** @param {import("./context.mjs").BootstrapContext} context */
export async function installNodePackages(context) {
  const { run, layout } = context;
  const { repo } = layout;
  if (nodePackagesFresh(repo)) return "already there";
  const stamp = path.join(repo, "node_modules/.grove-stamp");
  const program = await fetchPnpm(context);
  await redo(stamp, nodePackagesInputs(repo), () =>
    runCommand(run, {
      name: "pnpm install",
      command: process.execPath,
      // pnpm finishes what an interrupted install left; it must not stop to ask whether it may
      args: [program, "install", "--frozen-lockfile", "--config.confirm-modules-purge=false"],
      cwd: repo,
      env: context.toolEnv,
      logFile: path.join(layout.logs, "install-node.log"),
      limitMs: 20 * 60_000,
    }),
  );
  return "pnpm install";
}
