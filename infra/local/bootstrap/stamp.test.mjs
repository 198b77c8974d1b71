import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../testing/temporary.mjs";
import { isFresh, redo } from "./stamp.mjs";

it("is fresh after the work with the same inputs, and not with others", async () => {
  const stamp = path.join(temporaryFolder(), "stamp");
  await redo(stamp, "one", async () => {});
  expect(isFresh(stamp, "one")).toBe(true);
  expect(isFresh(stamp, "two")).toBe(false);
});

it("does not keep the old stamp while the work runs, nor after it failed", async () => {
  const stamp = path.join(temporaryFolder(), "stamp");
  await redo(stamp, "one", async () => {});
  const failing = redo(stamp, "one", async () => {
    expect(fs.existsSync(stamp)).toBe(false);
    throw new Error("interrupted");
  });
  await expect(failing).rejects.toThrow("interrupted");
  expect(isFresh(stamp, "one")).toBe(false);
});
