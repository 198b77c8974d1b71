import { execFileSync, spawnSync } from "node:child_process";
import { Failure } from "../lib/failure.mjs";

/**
 * How to start Postgres so that it accepts its user: it refuses to run as root.
 * @typedef {object} PostgresUser
 * @property {number} [uid] the account to become; absent where we are an ordinary user already
 * @property {number} [gid]
 * @property {string[]} prefix a command to put before the server's
 */

const account = "postgres";

/**
 * @param {string[]} paths what the account must be able to reach
 * @returns {PostgresUser}
 */
export function postgresUser(paths) {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const { uid, gid } = accountIds() ?? makeAccount();
  if (reaches([], { uid, gid }, paths)) return { uid, gid, prefix: [] };
  // A checkout under a home that only root may enter, as in many containers: let the account pass through folders,
  // and nothing else of root's.
  for (const capability of ["dac_read_search", "dac_override"]) {
    const prefix = withCapability(uid, gid, capability);
    if (reaches(prefix, {}, paths)) return { uid, gid, prefix };
  }
  throw new Failure(`Postgres can't run as root, and the account "${account}" can't reach ${paths[0]}.`, {
    advice:
      "Move the checkout out of a private folder (to /srv or /opt, say), open that folder with chmod o+x, or run as an ordinary user.",
  });
}

/**
 * @param {number} uid
 * @param {number} gid
 * @param {string} capability
 */
function withCapability(uid, gid, capability) {
  return [
    "setpriv",
    `--reuid=${uid}`,
    `--regid=${gid}`,
    "--clear-groups",
    `--inh-caps=-all,+${capability}`,
    `--ambient-caps=+${capability}`,
    `--bounding-set=-all,+${capability}`,
    // access(2) would else leave the capability out of account, and Postgres asks it about its own binaries
    "--securebits=+no_setuid_fixup",
  ];
}

/**
 * @param {string[]} prefix
 * @param {{ uid?: number, gid?: number }} ids
 * @param {string[]} paths
 */
function reaches(prefix, ids, paths) {
  const [command = "", ...args] = [
    ...prefix,
    "sh",
    "-c",
    'for path in "$@"; do test -r "$path" || exit 1; done',
    "sh",
    ...paths,
  ];
  return spawnSync(command, args, { ...ids, cwd: "/", stdio: "ignore" }).status === 0;
}

function accountIds() {
  try {
    const id = (/** @type {string} */ flag) =>
      Number(execFileSync("id", [flag, account], { stdio: ["ignore", "pipe", "ignore"] }));
    return { uid: id("-u"), gid: id("-g") };
  } catch {
    return null;
  }
}

function makeAccount() {
  spawnSync("useradd", ["--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", account], {
    stdio: "ignore",
  });
  const made = accountIds();
  if (made !== null) return made;
  throw new Failure(`Postgres can't run as root, and the account "${account}" could not be made.`, {
    advice: `Make it (useradd --system --user-group ${account}), or run as an ordinary user.`,
  });
}
