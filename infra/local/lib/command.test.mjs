import { expect, it } from "vitest";
import { adviceFor } from "./command.mjs";

it.each([
  ["OSError: [Errno 28] No space left on device", "The disk is full"],
  ["npm error code ENOTFOUND", "registry could not be reached"],
  ["ERROR: No matching distribution found for torch==2.13.0", "PYTHON="],
  ["ERR_PNPM_OUTDATED_LOCKFILE Cannot install", "pnpm-lock.yaml"],
  ["PermissionError: [Errno 13] Permission denied: '.venv'", "chown"],
])("a log that says %j gets advice about it", (output, advice) => {
  expect(adviceFor(output)).toContain(advice);
});

it("an unknown failure gets no invented advice", () => {
  expect(adviceFor("TypeError: x is not a function")).toBeNull();
});
