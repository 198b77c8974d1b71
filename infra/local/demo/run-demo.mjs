import path from "node:path";
import { Failure } from "../lib/failure.mjs";
import { readIfThere, writeAtomically } from "../lib/files.mjs";
import { openAccount } from "./account.mjs";
import { openApi } from "./api.mjs";
import { evaluateOnce, examplePrompt } from "./evaluate.mjs";
import { findData, mergedLines } from "./own-data.mjs";
import { hashOfFile, lineStore } from "./store.mjs";
import { dollars, resultTable } from "./table.mjs";
import { wordnetTasks } from "./tasks.mjs";
import { clock, trainOnce, uploadOnce } from "./train.mjs";

const OWN_SECONDS = 300;
const OWN_EPOCHS = 3;
const OWN_EVAL_ROWS = 100;

/**
 * @typedef {{ file: string, prompt: string, target: string }} OwnData
 * @typedef {object} DemoRun
 * @property {NodeJS.ProcessEnv} env of the stack's processes
 * @property {string} data the data folder
 * @property {{ web: string, gateway: string, serving: string }} urls
 * @property {{ own: OwnData | OwnData[] | null, minutes?: number | null, rows?: number | null }} options
 * @property {AbortSignal} signal
 * @property {(line: string) => void} say
 */

/**
 * Real adapters from real data through the public API: upload, train, serve, evaluate, bill. Finished work of a run before
 * with the same content is found again, so that a second run prints its table in seconds.
 * @param {DemoRun} run
 */
export async function runDemo(run) {
  const began = Date.now();
  const { env, data, urls, signal, say } = run;
  const file = path.join(data, "demo.json");
  const account = await openAccount({ env, gateway: urls.gateway, before: accountIn(file) });
  const api = openApi({ gateway: urls.gateway, token: account.apiToken, signal });
  const baseModel = env.GROVE_BASE_MODEL ?? "";
  const tasks = await tasksOf(run);
  /** @type {import("./table.mjs").Outcome[]} */
  const outcomes = [];
  for (const [i, task] of tasks.entries()) {
    say("");
    say(`${i + 1}/${tasks.length} ${task.name}: adapter ${task.repository} on ${baseModel}`);
    const dataset = await uploadOnce(api, task, say);
    const job = await trainOnce(api, task, { datasetId: dataset.id, baseModel }, say);
    const evaluation = await evaluateOnce(api, task, { adapterId: job.adapterId, datasetId: dataset.id }, say);
    outcomes.push({ task, job, evaluation });
  }
  await tellBatch(run, account, baseModel, outcomes, api);
  const adapters = await Promise.all(outcomes.map((outcome) => recordOf(api, outcome)));
  const record = { dashboardUrl: urls.web, gatewayUrl: urls.gateway, servingUrl: urls.serving, tenant: account.tenant, apiToken: account.apiToken, email: account.email, password: account.password, baseModel, adapters };
  writeAtomically(file, `${JSON.stringify(record, null, 2)}\n`, 0o600);
  await tellEnd(run, record, outcomes, api, began);
}

/**
 * @param {string} file
 * @returns {import("./account.mjs").Account | null}
 */
function accountIn(file) {
  try {
    const { email, password, tenant, apiToken } = JSON.parse(readIfThere(file) ?? "");
    return typeof apiToken === "string" ? { email, password, tenant, apiToken } : null;
  } catch {
    return null; // no demo before, or its file was damaged: an account is opened anew
  }
}

/**
 * @param {DemoRun} run
 * @returns {Promise<import("./tasks.mjs").Task[]>}
 */
async function tasksOf({ data, options, say }) {
  const store = lineStore(path.join(data, "demo"));
  const limits = { minutes: options.minutes ?? null, rows: options.rows ?? null };
  const own = options.own === null ? [] : [options.own].flat();
  if (own.length === 0) return wordnetTasks(store, limits);
  const taken = new Set();
  const tasks = [];
  for (const { file, prompt, target } of own) {
    const found = findData(file);
    const repository = freeName(slugOf(found.name), taken);
    const merged = found.parts.some((part) => part.split !== "");
    if (merged) say(`  ${found.name}: ${found.parts.map((part) => path.basename(part.file)).join(", ")} become one data set with a split column`);
    const whole = found.parts[0]?.file ?? file;
    tasks.push({
      name: found.name,
      repository,
      promptTemplate: prompt.replaceAll("\\n", "\n"), // a shell passes the two characters on as they are
      targetColumn: target,
      data: merged ? await store(repository, mergedLines(found.parts)) : { file: whole, hash: await hashOfFile(whole) },
      maxSeconds: limits.minutes === null ? OWN_SECONDS : Math.round(limits.minutes * 60),
      epochs: OWN_EPOCHS,
      evalRows: limits.rows ?? OWN_EVAL_ROWS,
      maxNewTokens: undefined,
    });
  }
  return tasks;
}

/** @param {string} name */
function slugOf(name) {
  const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 50).replace(/-+$/, "");
  return slug === "" ? "own-data" : slug;
}

/**
 * @param {string} name
 * @param {Set<string>} taken
 */
function freeName(name, taken) {
  let free = name;
  for (let i = 2; taken.has(free); i += 1) free = `${name}-${i}`;
  taken.add(free);
  return free;
}

/**
 * Every adapter and the base, asked at once by the published call.
 * @param {DemoRun} run
 * @param {import("./account.mjs").Account} account
 * @param {string} baseModel
 * @param {import("./table.mjs").Outcome[]} outcomes
 * @param {import("./api.mjs").Api} api
 */
async function tellBatch({ urls, say }, account, baseModel, outcomes, api) {
  const path = `/${account.tenant}/deployments/v2/llms/${encodeURIComponent(baseModel)}/generate`;
  const answers = await Promise.all(
    outcomes.map(async ({ job, evaluation }) => {
      const inputs = await examplePrompt(api, evaluation.id);
      const parameters = { adapter_id: job.adapterId, adapter_source: "pbase", max_new_tokens: 16 };
      return api.post(path, { inputs, parameters });
    }),
  );
  const metrics = await fetch(`${urls.serving}/metrics`).then((response) => response.text(), () => "");
  const most = /^grove_batch_adapters_max (\d+)/m.exec(metrics)?.[1];
  say("");
  say(`All ${outcomes.length} adapters answer from one copy of ${baseModel}${most === undefined ? "" : `; the fullest batch so far held ${most} of them`}:`);
  for (const [i, { job }] of outcomes.entries()) say(`  ${job.adapterId}: ${JSON.stringify(answers[i].generated_text.trim().split("\n")[0])}`);
}

/**
 * @param {import("./api.mjs").Api} api
 * @param {import("./table.mjs").Outcome} outcome
 */
async function recordOf(api, { task, job, evaluation }) {
  const { adapter, base } = evaluation.summary;
  return { id: job.adapterId, task: task.name, examplePrompt: await examplePrompt(api, evaluation.id), score: adapter.score, baseScore: base.score };
}

/**
 * @param {DemoRun} run
 * @param {any} record what demo.json holds
 * @param {import("./table.mjs").Outcome[]} outcomes
 * @param {import("./api.mjs").Api} api
 * @param {number} began
 */
async function tellEnd({ data, urls, say }, record, outcomes, api, began) {
  const usage = await api.get("/api/v1/usage?days=366");
  if (outcomes.length === 0) throw new Failure("The demo had nothing to do.");
  say("");
  for (const line of resultTable(outcomes)) say(line);
  say("");
  say(`Billed since the beginning: ${dollars(BigInt(usage.totalMicroUsd))}. This run took ${clock((Date.now() - began) / 1000)}.`);
  say(`  dashboard  ${urls.web}`);
  say(`  sign in    ${record.email}   ${record.password === "" ? "(with the password you chose)" : record.password}`);
  say(`  API token  ${path.join(data, "demo.json")}`);
  say("  one prompt:");
  for (const line of curl(record)) say(`    ${line}`);
}

/** @param {any} record */
function curl({ gatewayUrl, tenant, baseModel, apiToken, adapters }) {
  const [{ id, examplePrompt }] = adapters;
  const body = JSON.stringify({ inputs: examplePrompt, parameters: { adapter_id: id, adapter_source: "pbase", max_new_tokens: 16 } });
  return [
    `curl ${gatewayUrl}/${tenant}/deployments/v2/llms/${encodeURIComponent(baseModel)}/generate \\`,
    `  -H "Authorization: Bearer ${apiToken}" -H "Content-Type: application/json" \\`,
    `  -d '${body.replaceAll("'", "'\\''")}'`,
  ];
}
