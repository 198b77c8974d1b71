import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { eventually, startProcess, temporaryFolder } from "../testing/temporary.mjs";
import { identityOf, isAlive, processesMarked } from "./process-identity.mjs";

it("knows a living process, and stops knowing it once it has ended", async () => {
  const child = await startProcess("sleep 30");
  expect(isAlive(child)).toBe(true);
  process.kill(child.pid, "SIGKILL");
  await eventually(() => !isAlive(child));
});

it("does not take a recycled pid for the process that had it before", async () => {
  const child = await startProcess("sleep 30");
  expect(isAlive({ pid: child.pid, identity: `${child.identity}0` })).toBe(false);
});

it.runIf(process.platform === "linux")("counts a process that ended and was not yet waited for as ended", async () => {
  const note = path.join(temporaryFolder(), "pid");
  // the shell becomes a program that never waits for the child it inherited
  await startProcess(`sleep 0.1 & echo $! > ${note}; exec sleep 30`);
  const pid = Number(fs.readFileSync(note, "utf8"));
  await eventually(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "));
  expect(identityOf(pid)).toBeNull();
});

it.runIf(process.platform === "linux")("finds by its mark what left its process group", async () => {
  const mark = `run-${Date.now()}`;
  const parent = await startProcess("setsid sleep 30 & exec sleep 30", { GROVE_TEST_MARK: mark });
  const found = processesMarked(`GROVE_TEST_MARK=${mark}`);
  expect(found.length).toBe(2);
  expect(found.some(({ pid }) => pid === parent.pid)).toBe(true);
  for (const { pid } of found) process.kill(pid, "SIGKILL");
});
