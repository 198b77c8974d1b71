import { expect, it } from "vitest";
import { eventually, startProcess } from "../testing/temporary.mjs";
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

it("counts a process that ended and was not yet waited for as ended", async () => {
  const { pid } = await startProcess("sleep 0.2 & exec sleep 30");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const zombies = processesMarked(`NOT_SET_ANYWHERE=${pid}`);
  expect(zombies).toEqual([]);
  expect(identityOf(2 ** 22 + 1)).toBeNull();
});

it.runIf(process.platform === "linux")("finds by its mark what left its process group", async () => {
  const mark = `run-${Date.now()}`;
  const parent = await startProcess("setsid sleep 30 & exec sleep 30", { GROVE_TEST_MARK: mark });
  const found = processesMarked(`GROVE_TEST_MARK=${mark}`);
  expect(found.length).toBe(2);
  expect(found.some(({ pid }) => pid === parent.pid)).toBe(true);
  for (const { pid } of found) process.kill(pid, "SIGKILL");
});
