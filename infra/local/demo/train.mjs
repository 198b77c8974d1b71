import { createHash } from "node:crypto";
import { Failure } from "../lib/failure.mjs";
import { pause } from "./api.mjs";

const LOOK_EVERY_MS = 1_000;
const TELL_EVERY_MS = 10_000;
const TRIES = 5;

/**
 * Whatever was done for the same content before is found again: the file's name carries its hash.
 * @param {import("./api.mjs").Api} api
 * @param {import("./tasks.mjs").Task} task
 * @param {(line: string) => void} say
 * @returns {Promise<{ id: string, profile: { rows: number, splitRows: Record<string, number> } }>}
 */
export async function uploadOnce(api, task, say) {
  const fileName = `${task.repository}-${task.data.hash.slice(0, 16)}${task.data.file.endsWith(".csv") ? ".csv" : ".jsonl"}`;
  const known = await findDataset(api, fileName);
  const query = new URLSearchParams({ name: task.repository, fileName });
  let dataset = known ?? (await api.upload(`/api/v1/datasets?${query}`, task.data.file));
  while (dataset.status === "uploading" || dataset.status === "profiling") {
    await pause(LOOK_EVERY_MS / 2, api.signal);
    dataset = await api.get(`/api/v1/datasets/${dataset.id}`);
  }
  if (dataset.status === "failed") {
    const line = dataset.error?.line ? ` (line ${dataset.error.line})` : "";
    throw new Failure(`${task.data.file} cannot be used${line}: ${dataset.error?.message}`, {
      advice: "Correct the file and run the command again.",
    });
  }
  const { rows, splitRows } = dataset.profile;
  say(
    `  data set: ${rows} rows: ${splitRows.train} to learn from, ${splitRows.validation} to watch, ${splitRows.test} held back for the test${known ? " (uploaded before)" : ""}`,
  );
  return dataset;
}

/**
 * @param {import("./api.mjs").Api} api
 * @param {string} fileName
 */
async function findDataset(api, fileName) {
  for (let cursor = ""; ; ) {
    const page = await api.get(`/api/v1/datasets?limit=100${cursor === "" ? "" : `&cursor=${cursor}`}`);
    const found = page.items.find((/** @type {any} */ one) => one.fileName === fileName && one.status !== "failed");
    if (found || page.nextCursor === null) return found ?? null;
    cursor = page.nextCursor;
  }
}

/**
 * A job of the same content and settings is the same job; one that failed or was cancelled is made anew.
 * @param {import("./api.mjs").Api} api
 * @param {import("./tasks.mjs").Task} task
 * @param {{ datasetId: string, baseModel: string }} made
 * @param {(line: string) => void} say
 * @returns {Promise<any>} the finished job
 */
export async function trainOnce(api, task, { datasetId, baseModel }, say) {
  const { repository, promptTemplate, targetColumn, maxSeconds, epochs } = task;
  const hyperparameters = { rank: 8, dropout: 0.05, epochs, batchSize: 16, learningRate: 5e-4, maxSeconds };
  const input = { datasetId, repository, config: { baseModel, promptTemplate, targetColumn, hyperparameters } };
  const job = await firstUnbroken(input, (body) => api.post("/api/v1/jobs", body));
  if (job.status === "succeeded") say(`  trained before: ${job.adapterId}`);
  else await follow(api, job.id, say);
  const done = await api.get(`/api/v1/jobs/${job.id}`);
  if (done.status === "succeeded") return done;
  throw new Failure(`The training of ${repository} ${done.status}: ${done.error?.message ?? ""}`, {
    advice: "Its log is on the job's page in the dashboard.",
  });
}

/**
 * @param {object} input
 * @param {(body: object) => Promise<any>} create
 */
export async function firstUnbroken(input, create) {
  const hash = createHash("sha256").update(JSON.stringify(input)).digest("hex").slice(0, 32);
  for (let tried = 1; ; tried += 1) {
    const made = await create({ ...input, idempotencyKey: `demo-${hash}-${tried}` });
    if (tried === TRIES || (made.status !== "failed" && made.status !== "cancelled")) return made;
  }
}

/**
 * One line every ten seconds until the job has ended.
 * @param {import("./api.mjs").Api} api
 * @param {string} jobId
 * @param {(line: string) => void} say
 */
async function follow(api, jobId, say) {
  let afterSeq = 0;
  let told = 0;
  for (;;) {
    const { items } = await api.get(`/api/v1/jobs/${jobId}/events?afterSeq=${afterSeq}`);
    for (const { seq, event } of items) {
      afterSeq = seq;
      const line = describe(event);
      const due = event.event !== "step" || Date.now() - told >= TELL_EVERY_MS;
      if (line === null || !due) continue;
      if (event.event === "step") told = Date.now();
      say(`  ${line}`);
    }
    const job = await api.get(`/api/v1/jobs/${jobId}`);
    if (["succeeded", "failed", "cancelled"].includes(job.status)) return;
    await pause(LOOK_EVERY_MS, api.signal);
  }
}

/**
 * @param {any} event of the trainer (contracts README §1)
 * @returns {string | null}
 */
function describe(event) {
  switch (event.event) {
    case "started":
      return `training on ${event.device}: ${event.train_rows} rows, ${event.tokens_per_epoch} tokens an epoch, ${event.trainable_parameters} weights to learn${event.resumed_from_step > 0 ? `, from step ${event.resumed_from_step}` : ""}`;
    case "step":
      return `step ${event.step}/${event.total_steps}  loss ${event.loss.toFixed(3)}  ${Math.round(event.tokens_per_second)} tokens/s  ${clock(event.seconds_left)} left`;
    case "validation":
      return `step ${event.step}  validation loss ${event.loss.toFixed(3)}`;
    case "warning":
      return `note: ${event.message}`;
    case "finished":
      return `finished after ${event.steps} steps, ${event.epochs.toFixed(2)} epochs, ${clock(event.seconds)} (${event.stopped_by})`;
    default:
      return null;
  }
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
