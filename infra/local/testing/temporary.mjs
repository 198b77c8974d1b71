import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import { identityOf } from "../lib/process-identity.mjs";

/** @returns {string} a folder that is gone after the test */
export function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "grove-infra-"));
  onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * A real process in a group of its own, which is gone after the test.
 * @param {string} script for sh
 * @param {NodeJS.ProcessEnv} [env]
 */
export async function startProcess(script, env = {}) {
  const child = spawn("sh", ["-c", script], { detached: true, stdio: "ignore", env: { ...process.env, ...env } });
  const pid = child.pid ?? 0;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  onTestFinished(() => {
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // it ended by itself
    }
  });
  // until exec has happened the environment read from /proc is still ours
  await new Promise((resolve) => setTimeout(resolve, 100));
  return { pid, identity: identityOf(pid) ?? "", exited };
}

/**
 * @param {() => boolean} condition
 * @param {number} [limitMs]
 */
export async function eventually(condition, limitMs = 5_000) {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`did not happen within ${limitMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
