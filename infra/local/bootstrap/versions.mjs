import { spawnSync } from "node:child_process";
import { Failure } from "../lib/failure.mjs";

export const nodeFloor = [20, 19];
export const pythonFloor = [3, 10];

/**
 * @param {string} text
 * @returns {number[]}
 */
export function parseVersion(text) {
  const found = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  return found === null ? [] : found.slice(1).map((part) => Number(part ?? 0));
}

/**
 * @param {number[]} version
 * @param {number[]} floor
 */
export function atLeast(version, floor) {
  if (version.length === 0) return false;
  for (let index = 0; index < floor.length; index++) {
    const difference = (version[index] ?? 0) - (floor[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** @param {string} version */
export function checkNode(version) {
  if (atLeast(parseVersion(version), nodeFloor)) return;
  throw new Failure(`Grove needs Node ${nodeFloor.join(".")} or newer; this is Node ${version}.`, {
    advice: "Install a newer Node (https://nodejs.org) and run the same command again.",
  });
}

/** @param {string} platform */
export function checkPlatform(platform) {
  if (platform === "linux" || platform === "darwin") return;
  throw new Failure(`Grove's local stack runs on Linux and macOS; this is ${platform}.`, {
    advice: "On Windows, use WSL 2.",
  });
}

/**
 * Finds a Python that can make a virtual environment.
 * @param {NodeJS.ProcessEnv} env PYTHON names one
 * @returns {{ command: string, version: string }}
 */
export function findPython(env) {
  const candidates = env.PYTHON ? [env.PYTHON] : ["python3", "python3.13", "python3.12", "python3.11", "python3.10"];
  /** @type {string[]} */
  const seen = [];
  for (const command of candidates) {
    const version = pythonVersion(command);
    if (version === null) continue;
    if (!atLeast(parseVersion(version), pythonFloor)) {
      seen.push(`${command} is Python ${version}`);
      continue;
    }
    if (!canMakeVenv(command)) {
      throw new Failure(`${command} (Python ${version}) has no venv or ensurepip module.`, {
        advice:
          "On Debian and Ubuntu: apt-get install python3-venv. Or name another Python with PYTHON=/path/to/python3.",
      });
    }
    return { command, version };
  }
  throw new Failure(
    `Grove needs Python ${pythonFloor.join(".")} or newer; ${seen.length > 0 ? seen.join(", ") : `no ${candidates.join(", ")} was found`}.`,
    {
      advice: "Install one, or name it with PYTHON=/path/to/python3.",
    },
  );
}

/** @param {string} command */
function pythonVersion(command) {
  const result = spawnSync(command, ["-c", "import platform; print(platform.python_version())"], {
    encoding: "utf8",
    timeout: 20_000,
  });
  return result.status === 0 ? result.stdout.trim() : null;
}

/** @param {string} command */
function canMakeVenv(command) {
  return spawnSync(command, ["-c", "import venv, ensurepip"], { timeout: 20_000 }).status === 0;
}
