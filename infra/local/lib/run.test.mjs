import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { eventually, temporaryFolder } from "../testing/temporary.mjs";
import { identityOf, isAlive } from "./process-identity.mjs";

/**
 * A run in a process of its own, since killing it is the point. It starts one child, which itself starts one that
 * leaves its process group, as a worker's trainer may.
 * @param {string} script what the child does after that
 */
async function startRun(script) {
  const folder = temporaryFolder();
  const lib = import.meta.dirname;
  const program = `
    import { Run } from ${JSON.stringify(path.join(lib, "run.mjs"))};
    import { takeLock } from ${JSON.stringify(path.join(lib, "lock.mjs"))};
    const run = new Run({ reaperLog: "reaper.log", say: (line) => console.log(line) });
    const { lock } = await takeLock("grove.lock", { what: "test", run: run.id });
    run.holds(lock);
    run.spawn({ name: "worker", command: "sh", args: ["-c", ${JSON.stringify(`setsid sleep 60 & echo $! > stray; ${script}`)}],
      cwd: process.cwd(), env: process.env, logFile: "worker.log", phase: "apps" });
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { cwd: folder, stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  const read = (/** @type {string} */ name) => fs.readFileSync(path.join(folder, name), "utf8");
  const lockFile = path.join(folder, "grove.lock");
  await eventually(
    () =>
      fs.existsSync(path.join(folder, "stray")) &&
      read("stray").trim() !== "" &&
      JSON.parse(read("grove.lock")).children.length === 1,
  );
  const stray = Number(read("stray"));
  const worker = JSON.parse(read("grove.lock")).children[0];
  return { child, exited, worker, stray: { pid: stray, identity: identityOf(stray) ?? "" }, lockFile };
}

describe("a run", () => {
  it("leaves no process and no lock behind when it is killed with kill -9", async () => {
    const { child, worker, stray, lockFile } = await startRun("sleep 60");
    expect(isAlive(worker) && isAlive(stray)).toBe(true);
    child.kill("SIGKILL");
    await eventually(() => !isAlive(worker) && !isAlive(stray) && !fs.existsSync(lockFile));
  });

  it("stops everything on SIGTERM and says so with its exit status", async () => {
    const { child, exited, worker, stray, lockFile } = await startRun("sleep 60");
    child.kill("SIGTERM");
    expect(await exited).toBe(143);
    expect(isAlive(worker) || isAlive(stray) || fs.existsSync(lockFile)).toBe(false);
  });

  it("kills a child that does not listen to SIGTERM, within 15 s", { timeout: 20_000 }, async () => {
    const { child, exited, worker } = await startRun("trap '' TERM; while :; do sleep 1; done");
    const began = Date.now();
    child.kill("SIGTERM");
    await exited;
    expect(isAlive(worker)).toBe(false);
    expect(Date.now() - began).toBeLessThan(15_000);
  });
});
