import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../testing/temporary.mjs";
import { atLeast, checkNode, checkPlatform, findPython, parseVersion } from "./versions.mjs";

/**
 * @param {string} version
 * @param {number} venvStatus
 */
function fakePython(version, venvStatus) {
  const file = path.join(temporaryFolder(), "python");
  fs.writeFileSync(file, `#!/bin/sh\ncase "$2" in *platform*) echo ${version};; *) exit ${venvStatus};; esac\n`, {
    mode: 0o755,
  });
  return file;
}

describe("version floors", () => {
  it.each([
    ["20.19.0", true],
    ["20.20.2", true],
    ["24.0.0", true],
    ["20.9.0", false],
    ["18.20.8", false],
    ["v22.1.0", true],
    ["nonsense", false],
  ])("Node %s is new enough: %s", (version, expected) => {
    expect(atLeast(parseVersion(version), [20, 19])).toBe(expected);
  });

  it("names the Node it found and the one it needs", () => {
    expect(() => checkNode("18.20.8")).toThrow("Grove needs Node 20.19 or newer; this is Node 18.20.8.");
  });

  it("refuses a platform it can't run on", () => {
    expect(() => checkPlatform("win32")).toThrow("this is win32");
  });

  it("takes 3.10 for newer than 3.9, as numbers and not as text", () => {
    expect(findPython({ PYTHON: fakePython("3.10.1", 0) }).version).toBe("3.10.1");
    expect(() => findPython({ PYTHON: fakePython("3.9.18", 0) })).toThrow("is Python 3.9.18");
  });

  it("says that venv is missing where Debian has split it off", () => {
    expect(() => findPython({ PYTHON: fakePython("3.11.2", 1) })).toThrow("has no venv or ensurepip module");
  });

  it("says that there is no Python at all", () => {
    expect(() => findPython({ PYTHON: "/nowhere/python3" })).toThrow("no /nowhere/python3 was found");
  });
});
