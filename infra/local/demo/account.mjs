import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import path from "node:path";
import { promisify } from "node:util";
import { Failure } from "../lib/failure.mjs";
import { readIfThere, writeAtomically } from "../lib/files.mjs";

const REPO = path.resolve(import.meta.dirname, "../../..");
const EMAIL = "demo@grove.local";

/** @typedef {{ email: string, password: string, tenant: string, apiToken: string }} Account */

/**
 * The account of an earlier demo if its token still works; else the first account of this installation, or, where somebody
 * has signed up before, a token for that organisation (whose password only its owner knows).
 * @param {{ env: NodeJS.ProcessEnv, data: string, gateway: string, before: Account | null }} where
 * @returns {Promise<Account>}
 */
export async function openAccount({ env, data, gateway, before }) {
  if (before !== null && (await stillWorks(gateway, before.apiToken))) {
    const { email, password, tenant, apiToken } = before;
    return { email, password, tenant, apiToken };
  }
  const password = passwordIn(path.join(data, "demo", "password"));
  const input = JSON.stringify({ email: EMAIL, password, name: "Demo", organisation: "Demo" });
  const script = path.join(import.meta.dirname, "open-account.ts");
  const run = promisify(execFile)(process.execPath, ["--import", "tsx", script], { cwd: REPO, env });
  run.child.stdin?.end(input); // not an argument: those are visible to every user of the machine
  const { stdout } = await run.catch((error) => {
    const tail = String(error.stderr ?? error)
      .trim()
      .split("\n")
      .slice(-12);
    throw new Failure("The demo's account could not be made.", { tail });
  });
  const { email, tenant, apiToken } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "{}");
  return { email, password: email === EMAIL ? password : "", tenant, apiToken };
}

/**
 * Written before it is used, so that no interruption leaves an account whose password nobody knows.
 * @param {string} file
 */
function passwordIn(file) {
  const before = readIfThere(file);
  if (before !== null && before !== "") return before;
  const made = randomBytes(12).toString("base64url");
  writeAtomically(file, made, 0o600);
  return made;
}

/**
 * @param {string} gateway
 * @param {string} token
 */
async function stillWorks(gateway, token) {
  const response = await fetch(`${gateway}/api/v1/organisation`, { headers: { authorization: `Bearer ${token}` } });
  return response.ok;
}
