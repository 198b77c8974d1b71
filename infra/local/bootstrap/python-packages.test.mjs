import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../testing/temporary.mjs";
import { pythonPackagesFresh, pythonPackagesInputs, pythonPaths, venvPlan } from "./python-packages.mjs";

function installedRepo() {
  const repo = temporaryFolder();
  const paths = pythonPaths(repo);
  fs.mkdirSync(path.dirname(paths.python), { recursive: true });
  fs.mkdirSync(path.dirname(paths.requirements), { recursive: true });
  fs.writeFileSync(paths.python, "");
  fs.writeFileSync(paths.requirements, "torch==2.13.0\n");
  fs.writeFileSync(paths.clients, "lorax-client==0.6.3\n");
  fs.writeFileSync(paths.stamp, `${pythonPackagesInputs(repo, "3.11.7")}\n`);
  return { repo, paths };
}

describe("the Python environment", () => {
  it("is fresh with its stamp", () => {
    expect(pythonPackagesFresh(installedRepo().repo, "3.11.7")).toBe(true);
  });

  it("is stale after a change of the requirements, of Python, or without its interpreter", () => {
    const { repo, paths } = installedRepo();
    expect(pythonPackagesFresh(repo, "3.12.0")).toBe(false);
    fs.appendFileSync(paths.requirements, "numpy==2.4.6\n");
    expect(pythonPackagesFresh(repo, "3.11.7")).toBe(false);
    const other = installedRepo();
    fs.rmSync(other.paths.python);
    expect(pythonPackagesFresh(other.repo, "3.11.7")).toBe(false);
  });

  it("is not trusted while the mark of a running pip is there", () => {
    const { repo, paths } = installedRepo();
    fs.writeFileSync(paths.halfway, "");
    expect(pythonPackagesFresh(repo, "3.11.7")).toBe(false);
  });

  it("is made anew after an interrupted install or for another Python, and else completed", () => {
    expect(venvPlan({ hasPython: true, halfway: true, version: "3.11.7" }, "3.11.7")).toBe("make anew");
    expect(venvPlan({ hasPython: false, halfway: false, version: null }, "3.11.7")).toBe("make anew");
    expect(venvPlan({ hasPython: true, halfway: false, version: "3.11.7" }, "3.12.0")).toBe("make anew");
    expect(venvPlan({ hasPython: true, halfway: false, version: "3.11.7" }, "3.11.7")).toBe("keep");
  });
});
