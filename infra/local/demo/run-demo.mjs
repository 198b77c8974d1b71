import path from "node:path";
import { openAccount } from "./account.mjs";
import { openApi } from "./api.mjs";
import { evaluateOnce, examplePrompt } from "./evaluate.mjs";
import { ownTasks } from "./own-tasks.mjs";
import { readRecord, writeRecord } from "./record.mjs";
import { lineStore } from "./store.mjs";
import { wordnetTasks } from "./tasks.mjs";
import { tellBatch, tellEnd } from "./tell.mjs";
import { trainOnce, uploadOnce } from "./train.mjs";

/**
 * @typedef {import("./own-tasks.mjs").OwnData} OwnData
 * @typedef {object} DemoRun
 * @property {NodeJS.ProcessEnv} env of the stack's processes
 * @property {string} data the data folder
 * @property {{ web: string, gateway: string, serving: string }} urls
 * @property {{ own: OwnData | OwnData[] | null, minutes?: number | null, rows?: number | null }} options `minutes` is the time budget of each training, `rows` the size of each evaluation
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
  const before = readRecord(file);
  const account = await openAccount({ env, data, gateway: urls.gateway, before });
  const baseModel = env.GROVE_BASE_MODEL ?? "";
  const record = { dashboardUrl: urls.web, gatewayUrl: urls.gateway, servingUrl: urls.serving, ...account, baseModel };
  writeRecord(file, { ...record, adapters: before?.adapters ?? [] }); // now: a run that is broken off must not lose its account
  const api = openApi({ gateway: urls.gateway, token: account.apiToken, signal });
  /** @type {import("./table.mjs").Outcome[]} */
  const outcomes = [];
  const tasks = await tasksOf(run);
  for (const [i, task] of tasks.entries()) {
    say("");
    say(`${i + 1}/${tasks.length} ${task.name}: adapter ${task.repository} on ${baseModel}`);
    const dataset = await uploadOnce(api, task, say);
    const job = await trainOnce(api, task, { datasetId: dataset.id, baseModel }, say);
    const evaluation = await evaluateOnce(api, task, { adapterId: job.adapterId, datasetId: dataset.id }, say);
    outcomes.push({ task, job, evaluation });
  }
  await tellBatch(run, account, baseModel, outcomes, api);
  const finished = { ...record, adapters: await Promise.all(outcomes.map((outcome) => adapterOf(api, outcome))) };
  writeRecord(file, finished);
  await tellEnd(run, finished, outcomes, api, began);
}

/**
 * @param {DemoRun} run
 * @returns {Promise<import("./tasks.mjs").Task[]>}
 */
function tasksOf({ data, options, say }) {
  const store = lineStore(path.join(data, "demo"));
  const limits = { minutes: options.minutes ?? null, rows: options.rows ?? null };
  const own = options.own === null ? [] : [options.own].flat();
  return own.length === 0 ? wordnetTasks(store, limits) : ownTasks(own, store, limits, say);
}

/**
 * @param {import("./api.mjs").Api} api
 * @param {import("./table.mjs").Outcome} outcome
 */
async function adapterOf(api, { task, job, evaluation }) {
  const { adapter, base } = evaluation.summary;
  return {
    id: job.adapterId,
    task: task.name,
    examplePrompt: await examplePrompt(api, evaluation.id),
    score: adapter.score,
    baseScore: base.score,
  };
}
