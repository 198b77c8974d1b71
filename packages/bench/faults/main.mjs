// `pnpm bench faults [--faults 100] [--seed 1] [--round N] [--minutes M] [--folder DIR] [--json FILE] [--readme]`: see README.md.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { openAccount } from "../../../infra/local/demo/account.mjs";
import { Progress } from "../../../infra/local/lib/progress.mjs";
import { openBooks } from "./books.mjs";
import { openClient } from "./client.mjs";
import { plannerOf } from "./plan.mjs";
import { leftOver } from "./processes.mjs";
import { readRecord, writeRecord } from "./record.mjs";
import { measureReferences } from "./references.mjs";
import { tableOf, tellRound, writeReadme } from "./report.mjs";
import { runRound, untilAtRest } from "./round.mjs";
import { startStack } from "./stack.mjs";
import { uploadRows } from "./work.mjs";

const number = (/** @type {string} */ fallback) => ({ type: /** @type {const} */ ("string"), default: fallback });
const { values } = parseArgs({
  options: {
    faults: number("100"),
    seed: number("1"),
    round: { type: "string" }, // this one alone
    minutes: number("600"), // no new round after so long
    folder: number(path.join(os.tmpdir(), "grove-faults")),
    json: { type: "string" }, // written after each round; a run of the same seed goes on from it
    readme: { type: "boolean", default: false },
  },
});
const [wanted, seed, minutes] = [Number(values.faults), Number(values.seed), Number(values.minutes)];
const progress = new Progress();
const say = (/** @type {string} */ line) => progress.say(line);
const file = values.round === undefined ? values.json : undefined; // a replayed round is not counted twice
const record = readRecord(file, seed);
const { outcomes, wrong } = record;
if (outcomes.length > 0) say(`going on after ${outcomes.length} rounds of ${file}`);
const began = Date.now();
fs.mkdirSync(values.folder, { recursive: true });
const { stack, data, disks, end } = await startStack({ folder: values.folder, progress });
const { stackEnv, run } = stack;
if (!disks)
  say("! Disks cannot be filled here: that takes Linux, root and the right to mount. Those faults are left out.");
const books = openBooks(stackEnv);
try {
  const gateway = stackEnv.GROVE_GATEWAY_URL;
  const account = await openAccount({ env: stackEnv, data, gateway, before: null });
  const client = openClient({ gateway, token: account.apiToken });
  const datasetId = await uploadRows(client);
  const ground = { client, books, data, datasetId };
  const measured = await measureReferences(ground, say);
  const bench = { ...ground, ...measured };
  const plan = plannerOf(seed, { disks });
  const rounds = values.round === undefined ? null : [Number(values.round)];
  const isOver = () => outcomes.filter((one) => one.hit).length >= wanted || Date.now() - began > minutes * 60_000;
  const last = Math.max(0, ...outcomes.map((one) => one.round));
  for (let round = last + 1; rounds === null ? !isOver() : rounds.length > 0; round++) {
    const outcome = await runRound(bench, plan(rounds?.shift() ?? round));
    if (run.signal.aborted) break; // what Ctrl-C did is no outcome
    outcomes.push(outcome);
    writeRecord(file, { ...record, ...sitting(), outcomes, wrong });
    say(tellRound(outcome, outcomes.filter((one) => one.hit).length));
  }
  wrong.push(...(await untilAtRest(ground)));
  wrong.push(...(await wrongLedger(client)));
} finally {
  await books.close();
  await end();
}
for (const { pid, command } of leftOver(run.id, data)) wrong.push(`process ${pid} outlived the stack: ${command}`);

say("");
say(tableOf(outcomes));
const broken = outcomes.filter((one) => one.wrong.length > 0);
for (const one of broken) say(`✗ --seed ${seed} --round ${one.round}: ${one.wrong.join("; ")}`);
for (const text of wrong) say(`✗ at the end: ${text}`);
const struck = outcomes.filter((one) => one.hit).length;
say(
  `${struck} faults struck in ${outcomes.length} rounds, seed ${seed}, ${Math.round(sitting().seconds / 60)} min; ${broken.length + wrong.length} violations`,
);
const whole = { ...record, ...sitting(), outcomes, wrong };
writeRecord(file, whole);
if (values.readme) writeReadme(path.join(import.meta.dirname, "README.md"), whole);
process.exit(broken.length + wrong.length > 0 || (values.round === undefined && struck < wanted) ? 1 : 0);

/** What is known of this sitting, the earlier ones added. */
function sitting() {
  const git = ["-C", import.meta.dirname, "rev-parse", "--short", "HEAD"];
  const commit = execFileSync("git", git, { encoding: "utf8" }).trim();
  const machine = { cpu: os.cpus()[0]?.model ?? "", cores: os.cpus().length };
  const seconds = record.seconds + (Date.now() - began) / 1000;
  return { date: new Date().toISOString(), machine, commit, seconds };
}

/**
 * One charge and one version for each job that succeeded, versions without a gap, nothing unfinished, and the API's own
 * total is that of the rows.
 * @param {import("./client.mjs").Client} client
 */
async function wrongLedger(client) {
  const ledger = await books.ledger();
  const report = await client.get("/api/v1/usage?days=2");
  say(
    `ledger: ${JSON.stringify(ledger)}, total of the API ${report.totalMicroUsd}; queues: ${JSON.stringify(await books.queues())}`,
  );
  return [
    ledger.rows === ledger.succeeded ? "" : `${ledger.rows} charges for ${ledger.succeeded} jobs that succeeded`,
    ledger.versions === ledger.succeeded
      ? ""
      : `${ledger.versions} versions of ${ledger.succeeded} jobs that succeeded`,
    ledger.last === ledger.versions ? "" : `the last of ${ledger.versions} versions is number ${ledger.last}`,
    ledger.unfinished === 0 ? "" : `${ledger.unfinished} jobs are unfinished`,
    String(report.totalMicroUsd) === ledger.cost
      ? ""
      : `the API's total is ${report.totalMicroUsd}, the rows' ${ledger.cost}`,
  ].filter((text) => text !== "");
}
