import fs from "node:fs";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { eventually, temporaryFolder } from "../testing/temporary.mjs";
import { isSource, restartOnNewBuild } from "./reload.mjs";

it.each([
  ["core/src/jobs/create-job.ts", true],
  ["core/src/jobs/create-job.test.ts", false],
  ["core/node_modules/zod/index.ts", false],
  ["db/src/generated/client.ts", false],
  ["core/README.md", false],
])("a change of %s restarts: %s", (name, expected) => {
  expect(isSource(name, /\.tsx?$/)).toBe(expected);
});

it("the web is restarted once for a new build of another run, at its end and not at its beginning", async () => {
  const stamp = path.join(temporaryFolder(), "stamp");
  fs.writeFileSync(stamp, "one");
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  let restarts = 0;
  const restart = () => {
    restarts += 1;
  };
  restartOnNewBuild({ stamp, signal: abort.signal, restart, everyMs: 10 });
  fs.rmSync(stamp);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(restarts).toBe(0);
  fs.writeFileSync(stamp, "two");
  await eventually(() => restarts === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(restarts).toBe(1);
});
