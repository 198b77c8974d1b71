import { expect, it } from "vitest";
import { isSource } from "./reload.mjs";

it.each([
  ["core/src/jobs/create-job.ts", true],
  ["core/src/jobs/create-job.test.ts", false],
  ["core/node_modules/zod/index.ts", false],
  ["db/src/generated/client.ts", false],
  ["core/README.md", false],
])("a change of %s restarts: %s", (name, expected) => {
  expect(isSource(name, /\.tsx?$/)).toBe(expected);
});
