import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { tailOf } from "../lib/files.mjs";

/**
 * @param {import("../lib/run.mjs").Run} run
 * @param {import("../lib/layout.mjs").Layout} layout
 * @param {NodeJS.ProcessEnv} env DATABASE_URL names the database, which is made where it is absent
 */
export async function migrateDatabase(run, layout, env) {
  const logFile = path.join(layout.logs, "migrate.log");
  await runCommand(run, {
    name: "migrate",
    command: process.execPath,
    args: ["--import", "tsx", path.join(layout.repo, "packages/db/src/migrate.ts")],
    cwd: layout.repo,
    env,
    logFile,
    limitMs: 5 * 60_000,
    advice: "The database was left as it was before the failing migration; the log names the statement.",
  });
  return tailOf(logFile, 1)[0] ?? "";
}
