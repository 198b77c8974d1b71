import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { startProcess, temporaryFolder } from "../testing/temporary.mjs";
import { removeStalePid } from "./postgres.mjs";

/** @param {number} pid */
function folderWithPid(pid) {
  const folder = temporaryFolder();
  const file = path.join(folder, "postmaster.pid");
  fs.writeFileSync(file, `${pid}\n${folder}\n`);
  return { folder, file };
}

it("removes the pid file of a server that is gone", () => {
  const { folder, file } = folderWithPid(2 ** 22 + 1);
  removeStalePid(folder);
  expect(fs.existsSync(file)).toBe(false);
});

it("removes the pid file where the number now belongs to another program", async () => {
  const { folder, file } = folderWithPid((await startProcess("exec sleep 30")).pid);
  removeStalePid(folder);
  expect(fs.existsSync(file)).toBe(false);
});

it("refuses beside a server that really runs on the folder", async () => {
  const { folder, file } = folderWithPid(0);
  const { pid } = await startProcess(`exec sh -c 'sleep 30; :' postgres -D ${folder}`);
  fs.writeFileSync(file, `${pid}\n`);
  expect(() => removeStalePid(folder)).toThrow(`Another Postgres (pid ${pid})`);
  expect(fs.existsSync(file)).toBe(true);
});
