import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { Failure } from "../lib/failure.mjs";
import { readIfThere, writeAtomically } from "../lib/files.mjs";

/** @typedef {{ internal: string, nextauth: string, postgres: string, redis: string }} Secrets */

const names = /** @type {const} */ (["internal", "nextauth", "postgres", "redis"]);

/**
 * Made once for a data folder, since sessions, stored hashes and the database's password depend on them.
 * @param {string} data
 * @returns {Secrets}
 */
export function loadSecrets(data) {
  const file = path.join(data, "secrets.json");
  const text = readIfThere(file);
  if (text === null) {
    if (fs.existsSync(path.join(data, "postgres"))) {
      throw new Failure(`${file} is gone, and the database of this data folder can't be opened without it.`, {
        advice: "Put the file back, or remove the data folder to begin anew.",
      });
    }
    const made = { internal: secret(), nextauth: secret(), postgres: secret(), redis: secret() };
    writeAtomically(file, `${JSON.stringify(made, null, 2)}\n`, 0o600);
    return made;
  }
  fs.chmodSync(file, 0o600);
  const secrets = parse(text);
  if (secrets === null) {
    throw new Failure(`${file} is damaged.`, { advice: "Put the file back, or remove the data folder to begin anew." });
  }
  return secrets;
}

function secret() {
  return randomBytes(24).toString("hex");
}

/**
 * @param {string} text
 * @returns {Secrets | null}
 */
function parse(text) {
  try {
    const value = JSON.parse(text);
    return names.every((name) => typeof value[name] === "string" && value[name].length >= 32) ? value : null;
  } catch {
    return null;
  }
}
