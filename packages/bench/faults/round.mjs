import { setTimeout as sleep } from "node:timers/promises";
import { judge } from "./judge.mjs";
import { familyOf, trainersOf } from "./processes.mjs";
import { strike } from "./strike.mjs";
import { checkpointEvery, createJob, createSweep, specsOf, untilEnded, uploadRows } from "./work.mjs";

/**
 * @typedef {import("./plan.mjs").Plan} Plan
 * @typedef {import("./judge.mjs").Verdict & { spec: string }} JobVerdict
 * @typedef {Plan & { hit: boolean, state: string, seconds: number, jobs: JobVerdict[], again: JobVerdict[], wrong: string[] }} Outcome
 * @typedef {object} Bench
 * @property {import("./client.mjs").Client} client
 * @property {import("./books.mjs").Books} books
 * @property {string} data
 * @property {string} datasetId
 * @property {Map<string, import("./judge.mjs").Reference>} references by spec
 * @property {number} trainingMs how long a job trains without faults
 */

const LOST_AFTER_MS = 180_000;
const AT_REST_MS = 60_000;
const order = ["queued", "preparing", "training", "publishing", "succeeded"];
const services = /** @type {const} */ (["worker", "gateway", "redis", "postgres"]);

/**
 * Makes the jobs, strikes at the planned moment, waits for the end, and judges what is written down.
 * @param {Bench} bench
 * @param {Plan} plan
 * @returns {Promise<Outcome>}
 */
export async function runRound(bench, plan) {
  const began = Date.now();
  const { client, data } = bench;
  const struck = { hit: false, state: "nothing", healed: Promise.resolve() };
  const hit = (/** @type {string} */ state) => {
    Object.assign(struck, strike(plan.fault, data), { state });
  };
  const soon = async (/** @type {string} */ state) => {
    await sleep(plan.at * 60);
    hit(state);
  };
  let datasetId = bench.datasetId;
  if (plan.moment === "upload") [datasetId] = await Promise.all([uploadRows(client), soon("uploading")]);
  const making = make(client, datasetId, plan);
  if (plan.moment === "create") await soon("being created");
  const made = await making;
  if (!["create", "upload"].includes(plan.moment)) hit(await untilMoment(bench, plan, made.jobIds));
  const wrong = [];
  await untilEnded(client, made.jobIds, LOST_AFTER_MS).catch((error) => wrong.push(error.message));
  await struck.healed;
  wrong.push(...(await untilAtRest(bench)));
  const jobs = await judgeAll(bench, plan, made);
  const broken = made.specs.filter((spec, i) => jobs[i]?.status !== "succeeded" && spec !== "diverging");
  const again = [];
  for (const spec of broken) {
    const more = await createJob(client, datasetId, spec);
    await untilEnded(client, more.jobIds, LOST_AFTER_MS).catch((error) => wrong.push(error.message));
    again.push(...(await judgeAll(bench, plan, more)));
  }
  wrong.push(...[...jobs, ...again].flatMap((job) => job.wrong.map((text) => `${job.spec}: ${text}`)));
  for (const job of again)
    if (job.status !== "succeeded") wrong.push(`${job.spec}: created again, it ended ${job.status}`);
  const { state } = struck;
  // a trainer that had said its last word takes no harm
  const late = plan.fault.act === "kill" && plan.fault.target === "trainer" && jobs.every((job) => job.attempts === 1);
  const wasHit = struck.hit && !late && state !== "succeeded";
  return { ...plan, hit: wasHit, state, seconds: (Date.now() - began) / 1000, jobs, again, wrong };
}

/**
 * @param {import("./client.mjs").Client} client
 * @param {string} datasetId
 * @param {Plan} plan
 * @returns {Promise<import("./work.mjs").Made>}
 */
async function make(client, datasetId, { work, fault }) {
  const [first] = specsOf[work];
  if (work === "sweep" && fault.act !== "diverge") return createSweep(client, datasetId);
  const good = first === undefined ? [] : [first];
  const wanted = fault.act === "diverge" ? [...good, /** @type {const} */ ("diverging")] : good;
  const all = await Promise.all(wanted.map((spec) => createJob(client, datasetId, spec)));
  return { jobIds: all.flatMap((one) => one.jobIds), specs: all.flatMap((one) => one.specs) };
}

/**
 * Waits for the first job to come to the planned state, and in training for the planned part of it.
 * @param {Bench} bench
 * @param {Plan} plan
 * @param {string[]} ids
 * @returns {Promise<string>} what the jobs were at when it returned
 */
async function untilMoment({ books, trainingMs }, { moment, at }, ids) {
  const end = Date.now() + LOST_AFTER_MS;
  const starting = at < 0.3; // while the process loads its libraries and the base
  let since = 0;
  for (;;) {
    const rows = await books.jobs(ids);
    const first = rows.reduce((a, b) => (order.indexOf(b.status) > order.indexOf(a.status) ? b : a));
    const reached = order.indexOf(first.status) - order.indexOf(moment);
    if (reached >= 0 && since === 0) since = Date.now();
    const due =
      moment !== "training"
        ? Date.now() - since >= at * (moment === "publishing" ? 25 : 50)
        : starting
          ? Date.now() - since >= at * 3 * trainingMs * 0.5
          : first.totalSteps > 0 && first.step >= 0.9 * ((at - 0.3) / 0.7) * first.totalSteps;
    if (reached > 0 || (reached === 0 && due) || Date.now() > end) return describe(first);
    await sleep(3);
  }
}

/** @param {import("./books.mjs").JobRow} job */
function describe({ status, step }) {
  return status === "training" ? (step === 0 ? "training, before its first step" : "training") : status;
}

/**
 * @param {Bench} bench
 * @param {Plan} plan
 * @param {import("./work.mjs").Made} made
 * @returns {Promise<JobVerdict[]>}
 */
async function judgeAll({ books, references }, { fault }, { jobIds, specs }) {
  const verdicts = [];
  for (const [i, id] of jobIds.entries()) {
    const spec = specs[i] ?? "";
    const reference = references.get(spec) ?? { sha256: "", tokens: "", cost: "" };
    const round = { fault, diverging: spec === "diverging", interval: checkpointEvery };
    verdicts.push({ spec, ...judge(round, await books.account(id), reference) });
  }
  return verdicts;
}

/**
 * Until every service answers, no trainer runs and no message is under way.
 * @param {Pick<Bench, "books" | "client" | "data">} bench
 * @returns {Promise<string[]>} what did not come to rest
 */
export async function untilAtRest({ books, client, data }) {
  const end = Date.now() + AT_REST_MS;
  for (;;) {
    const down = services.filter((name) => familyOf(name).length === 0);
    const trainers = trainersOf(data);
    const counts = await books.queues();
    const moving = counts.waiting + counts.active + counts.delayed;
    if (down.length === 0 && trainers.length === 0 && moving === 0) break;
    if (Date.now() > end) {
      const words = [
        ...down.map((name) => `${name} is down`),
        ...trainers.map(({ pid }) => `the trainer ${pid} is an orphan`),
        ...(moving > 0 ? [`messages are stuck: ${JSON.stringify(counts)}`] : []),
      ];
      return words;
    }
    await sleep(100);
  }
  await client.get("/api/v1/organisation");
  return [];
}
