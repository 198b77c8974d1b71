// `pnpm bench faults [--faults 100] [--seed 1] [--round N] [--minutes M] [--folder DIR] [--json FILE]`: see README.md.
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
import { measureReferences } from "./references.mjs";
import { tableOf, tellRound } from "./report.mjs";
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
    json: { type: "string" },
  },
});
const [wanted, seed, minutes] = [Number(values.faults), Number(values.seed), Number(values.minutes)];
const progress = new Progress();
const say = (/** @type {string} */ line) => progress.say(line);
const began = Date.now();
fs.mkdirSync(values.folder, { recursive: true });
const { stack, data, disks, end } = await startStack({ folder: values.folder, progress });
const { stackEnv, layout, run } = stack;
if (!disks)
  say("! Disks cannot be filled here: that takes Linux, root and the right to mount. Those faults are left out.");
/** @type {import("./round.mjs").Outcome[]} */
const outcomes = [];
/** @type {string[]} */
const wrong = [];
const books = openBooks(stackEnv);
try {
  const gateway = stackEnv.GROVE_GATEWAY_URL;
  const account = await openAccount({ env: stackEnv, data, gateway, before: null });
  const client = openClient({ gateway, token: account.apiToken });
  const datasetId = await uploadRows(client);
  const ground = { client, books, data, store: layout.store, datasetId };
  const measured = await measureReferences(ground, say);
  const bench = { ...ground, ...measured };
  const plan = plannerOf(seed, { disks });
  const rounds = values.round === undefined ? null : [Number(values.round)];
  const isOver = () => outcomes.filter((one) => one.hit).length >= wanted || Date.now() - began > minutes * 60_000;
  for (let round = 1; rounds === null ? !isOver() : rounds.length > 0; round++) {
    const outcome = await runRound(bench, plan(rounds?.shift() ?? round));
    outcomes.push(outcome);
    say(tellRound(outcome, outcomes.filter((one) => one.hit).length));
    if (run.signal.aborted) break;
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
  `${struck} faults struck in ${outcomes.length} rounds, seed ${seed}, ${Math.round((Date.now() - began) / 60_000)} min; ${broken.length + wrong.length} violations`,
);
if (values.json !== undefined) {
  const machine = { cpu: os.cpus()[0]?.model, cores: os.cpus().length, load: os.loadavg() };
  const result = { date: new Date().toISOString(), machine, seed, struck, outcomes, wrong };
  fs.writeFileSync(values.json, `${JSON.stringify(result, null, 1)}\n`);
}
process.exit(broken.length + wrong.length > 0 || (values.round === undefined && struck < wanted) ? 1 : 0);

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
