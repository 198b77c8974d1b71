import fs from "node:fs";
import path from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { identityOf } from "../lib/process-identity.mjs";
import { Run } from "../lib/run.mjs";
import { eventually, temporaryFolder } from "../testing/temporary.mjs";
import { Service } from "./service.mjs";

/**
 * @param {string} script
 * @param {Partial<import("./service.mjs").ServiceSpec>} [more]
 */
function service(script, more = {}) {
  const folder = temporaryFolder();
  const said = /** @type {string[]} */ ([]);
  const run = new Run({ reaperLog: path.join(folder, "reaper.log"), say: (line) => said.push(line) });
  onTestFinished(() => run.stop());
  const spec = {
    name: "worker",
    command: "sh",
    args: ["-c", script],
    cwd: folder,
    env: process.env,
    phase: /** @type {const} */ ("apps"),
    ready: async (/** @type {() => string} */ saidSoFar) => saidSoFar().includes("worker ready"),
    readyMs: 5_000,
    ...more,
  };
  const pid = () => Number(fs.readFileSync(path.join(folder, "pid"), "utf8"));
  return { service: new Service(run, spec, folder), run, said, folder, pid };
}

const healthy = "echo $$ > pid; echo worker ready; exec sleep 60";

describe("a service", () => {
  it("is started again after kill -9, and says so", async () => {
    const { service: worker, said, pid } = service(healthy);
    await worker.start();
    const first = pid();
    process.kill(first, "SIGKILL");
    await eventually(() => said.some((line) => line.includes("worker is back")));
    expect(pid()).not.toBe(first);
    expect(said.join()).toContain("worker ended (SIGKILL)");
  });

  it("takes what it had started with it before its successor begins", async () => {
    const { service: worker, said, pid, folder } = service(`setsid sleep 60 & echo $! >> trainers; ${healthy}`);
    await worker.start();
    process.kill(pid(), "SIGKILL");
    await eventually(() => said.some((line) => line.includes("worker is back")));
    const [first] = fs.readFileSync(path.join(folder, "trainers"), "utf8").trim().split("\n");
    expect(identityOf(Number(first))).toBeNull();
  });

  it("fails at once when it ends while starting, with the end of its log", async () => {
    const { service: worker } = service("echo no such model; exit 3");
    const failure = await worker.start().catch((error) => error);
    expect(failure.message).toBe("worker ended while starting.");
    expect(failure.tail).toContain("no such model");
  });

  it("fails after its limit when it never becomes ready, rather than hang", async () => {
    const { service: worker } = service("exec sleep 60", { readyMs: 300 });
    await expect(worker.start()).rejects.toThrow("was not ready after 0.3 s");
  });

  it("does not take an earlier run's words for its own", async () => {
    const { service: worker, folder } = service("exec sleep 60", { readyMs: 300 });
    fs.writeFileSync(path.join(folder, "worker.log"), "worker ready\n");
    await expect(worker.start()).rejects.toThrow("was not ready");
  });

  it("is restarted on request without being called a death", async () => {
    const { service: worker, said, pid } = service(healthy);
    await worker.start();
    const first = pid();
    worker.restart();
    await eventually(() => said.some((line) => line.includes("worker is back")));
    expect(pid()).not.toBe(first);
    expect(said.join()).not.toContain("ended");
  });
});
