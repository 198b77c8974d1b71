import fs from "node:fs";
import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { hashOf } from "../lib/files.mjs";
import { isFresh, redo } from "./stamp.mjs";

/** @param {string} repo */
export function pythonPaths(repo) {
  const venv = path.join(repo, ".venv");
  return {
    venv,
    python: path.join(venv, "bin/python"),
    stamp: path.join(venv, ".grove-stamp"),
    /** there while pip works: what an interrupted pip leaves may look installed and be half copied */
    halfway: path.join(venv, ".grove-installing"),
    requirements: path.join(repo, "infra/local/requirements.txt"),
    clients: path.join(repo, "infra/local/requirements-clients.txt"),
  };
}

/**
 * @param {string} repo
 * @param {string} version of the Python that makes the environment
 */
export function pythonPackagesInputs(repo, version) {
  return hashOf(
    repo,
    [pythonPaths(repo).requirements, pythonPaths(repo).clients],
    [process.platform, process.arch, version],
  );
}

/**
 * @param {string} repo
 * @param {string} version
 */
export function pythonPackagesFresh(repo, version) {
  const paths = pythonPaths(repo);
  return (
    fs.existsSync(paths.python) &&
    !fs.existsSync(paths.halfway) &&
    isFresh(paths.stamp, pythonPackagesInputs(repo, version))
  );
}

/**
 * What to do with the environment that is there: an interrupted one can't be trusted, a finished one of the same
 * Python only needs what is missing.
 * @param {{ hasPython: boolean, halfway: boolean, version: string | null }} found
 * @param {string} version
 * @returns {"keep" | "make anew"}
 */
export function venvPlan(found, version) {
  if (!found.hasPython || found.halfway) return "make anew";
  return found.version === version ? "keep" : "make anew";
}

/** @param {import("./context.mjs").BootstrapContext} context */
export async function installPythonPackages({ run, layout, toolEnv, python }) {
  const { repo } = layout;
  if (pythonPackagesFresh(repo, python.version)) return "already there";
  const paths = pythonPaths(repo);
  const logFile = path.join(layout.logs, "install-python.log");
  const plan = venvPlan(
    { hasPython: fs.existsSync(paths.python), halfway: fs.existsSync(paths.halfway), version: venvVersion(paths.venv) },
    python.version,
  );
  await redo(paths.stamp, pythonPackagesInputs(repo, python.version), async () => {
    if (plan === "make anew") {
      fs.rmSync(paths.venv, { recursive: true, force: true });
      fs.mkdirSync(paths.venv, { recursive: true });
      fs.writeFileSync(paths.halfway, "");
      await runCommand(run, {
        name: "venv",
        command: python.command,
        args: ["-m", "venv", paths.venv],
        cwd: repo,
        env: toolEnv,
        logFile,
        limitMs: 5 * 60_000,
      });
    }
    fs.writeFileSync(paths.halfway, "");
    for (const list of [
      ["-r", paths.requirements],
      ["--no-deps", "-r", paths.clients],
    ]) {
      await runCommand(run, {
        name: "pip install",
        command: paths.python,
        args: ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", ...list],
        cwd: repo,
        env: toolEnv,
        logFile,
        limitMs: 30 * 60_000,
      });
    }
    fs.rmSync(paths.halfway);
  });
  return plan === "keep" ? "pip install" : "new .venv, pip install";
}

/**
 * @param {string} venv
 * @returns {string | null}
 */
function venvVersion(venv) {
  const file = path.join(venv, "pyvenv.cfg");
  if (!fs.existsSync(file)) return null;
  return /^version\s*=\s*(\S+)/m.exec(fs.readFileSync(file, "utf8"))?.[1] ?? null;
}
