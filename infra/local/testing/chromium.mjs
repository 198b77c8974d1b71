import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { Failure } from "../lib/failure.mjs";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const macPaths = [
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/**
 * @param {NodeJS.ProcessEnv} env GROVE_CHROMIUM names one
 * @returns {string | null}
 */
export function findChromium(env) {
  if (env.GROVE_CHROMIUM) return env.GROVE_CHROMIUM;
  const onPath = (env.PATH ?? "").split(":").flatMap((folder) => names.map((name) => path.join(folder, name)));
  return [...onPath, ...(process.platform === "darwin" ? macPaths : [])].find((file) => fs.existsSync(file)) ?? null;
}

/**
 * Finds Chromium, or installs Debian's where we may. A browser test that can't run is a failure, not a skip.
 * @param {{ run: import("../lib/run.mjs").Run, logs: string, env: NodeJS.ProcessEnv }} context
 * @returns {Promise<string>}
 */
export async function ensureChromium({ run, logs, env }) {
  const found = findChromium(env);
  if (found !== null) return found;
  if (process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0) {
    const apt = (/** @type {string[]} */ args) =>
      runCommand(run, {
        name: "apt-get",
        command: "apt-get",
        args,
        cwd: "/",
        env: { ...env, DEBIAN_FRONTEND: "noninteractive" },
        logFile: path.join(logs, `apt-${args[0]}.log`),
        limitMs: 10 * 60_000,
      });
    await apt(["update", "-q"]);
    await apt(["install", "-y", "-q", "--no-install-recommends", "chromium"]);
    const installed = findChromium(env);
    if (installed !== null) return installed;
  }
  throw new Failure("The browser tests need Chromium, and none was found.", {
    advice:
      "Install it (Debian, Ubuntu: sudo apt-get install chromium), or name one with GROVE_CHROMIUM=/path/to/chrome.",
  });
}
