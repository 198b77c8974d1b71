import path from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../testing/temporary.mjs";
import { checkDisk, freeBytes, needed } from "./disk.mjs";

it("refuses to begin on a disk that can't take the installation, with both figures", () => {
  expect(() => checkDisk("/data", needed.install, () => 1.5 * 1024 ** 3)).toThrow(
    "Only 1.5 GB are free where /data is; 6.0 GB are needed.",
  );
});

it("measures the disk of a folder that does not exist yet", () => {
  expect(freeBytes(path.join(temporaryFolder(), "not/yet/there"))).toBeGreaterThan(0);
});
