import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { filesBelow, hashOf } from "../lib/files.mjs";
import { nodePackagesInputs } from "./node-packages.mjs";
import { isFresh, redo } from "./stamp.mjs";

const notPartOfTheBuild = new Set([
  "node_modules",
  ".next",
  ".turbo",
  "generated",
  "e2e",
  "dist",
  "__pycache__",
  "coverage",
]);

/** @param {string} repo */
export function webInputs(repo) {
  const skip = (/** @type {string} */ name) =>
    notPartOfTheBuild.has(name) ||
    /\.test\.tsx?$/.test(name) ||
    name === "next-env.d.ts" ||
    name.endsWith(".md") ||
    name.endsWith(".tsbuildinfo");
  const packages = ["api", "config", "contracts", "core", "db", "queue", "storage", "ui"].map((name) =>
    path.join(repo, "packages", name),
  );
  const files = [path.join(repo, "apps/web"), ...packages, path.join(repo, "prisma/schema")].flatMap((folder) =>
    filesBelow(folder, skip),
  );
  return hashOf(repo, files, [nodePackagesInputs(repo), process.version]);
}

/** @param {string} repo */
export function nextBin(repo) {
  return path.join(repo, "apps/web/node_modules/next/dist/bin/next");
}

/** @param {string} repo */
export function webStamp(repo) {
  return path.join(repo, "apps/web/.next/.grove-stamp");
}

/** @param {import("./context.mjs").BootstrapContext & { stackEnv: NodeJS.ProcessEnv }} context */
export async function buildWeb({ run, layout, stackEnv }) {
  const { repo } = layout;
  const stamp = webStamp(repo);
  const inputs = webInputs(repo);
  if (isFresh(stamp, inputs) && fs.existsSync(path.join(repo, "apps/web/.next/BUILD_ID"))) return "already there";
  await redo(stamp, inputs, () =>
    runCommand(run, {
      name: "next build",
      command: process.execPath,
      args: [nextBin(repo), "build"],
      cwd: path.join(repo, "apps/web"),
      env: { ...stackEnv, NODE_ENV: "production" },
      logFile: path.join(layout.logs, "web-build.log"),
      limitMs: 15 * 60_000,
    }),
  );
  return "next build";
}
