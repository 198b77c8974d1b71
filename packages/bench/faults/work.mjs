import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

// What the jobs learn, and how: sums over a tiny base, a few seconds each.

/** @typedef {import("./client.mjs").Client} Client */
/** @typedef {{ jobIds: string[], specs: Spec[] }} Made the spec of each job */
/** @typedef {keyof typeof specs} Spec */

export const checkpointEvery = 10;
const common = { dropout: 0.1, epochs: 24, batchSize: 8, checkpointEverySteps: checkpointEvery };

/** @param {number} seed */
const adamw = (seed) => ({ ...common, rank: 8, learningRate: 0.01, seed });

export const specs = {
  "adamw, seed 1": adamw(1),
  "adamw, seed 2": adamw(2),
  "adamw, seed 3": adamw(3),
  lion: { ...common, rank: 16, learningRate: 0.002, optimizer: "lion", scheduler: "linear", seed: 4 },
  diverging: {
    ...common,
    rank: 64,
    alpha: 1024,
    dropout: 0,
    learningRate: 1,
    optimizer: "adam",
    scheduler: "constant",
    warmupRatio: 0,
    maxGradNorm: 1000,
    seed: 5,
  },
};
/** @type {Record<import("./plan.mjs").Work, Spec[]>} */
export const specsOf = {
  "alone-adamw": ["adamw, seed 1"],
  "alone-lion": ["lion"],
  sweep: ["adamw, seed 1", "adamw, seed 2", "adamw, seed 3"],
};

function rows() {
  const line = (/** @type {number} */ i) => ({
    sum: `${i % 7} + ${i % 5}`,
    answer: String((i % 7) + (i % 5)),
    split: i < 40 ? "train" : "validation",
  });
  return Array.from({ length: 48 }, (_, i) => `${JSON.stringify(line(i))}\n`).join("");
}

/**
 * @param {Client} client
 * @returns {Promise<string>} the id of a data set that is ready
 */
export async function uploadRows(client) {
  let dataset = await client.upload("/api/v1/datasets?name=sums&fileName=sums.jsonl", rows());
  while (dataset.status === "uploading" || dataset.status === "profiling") {
    await sleep(100);
    dataset = await client.get(`/api/v1/datasets/${dataset.id}`);
  }
  if (dataset.status !== "ready") throw new Error(`The data set: ${JSON.stringify(dataset)}`);
  return dataset.id;
}

/**
 * @param {string} datasetId
 * @param {Spec} spec
 */
const inputOf = (datasetId, spec) => ({
  datasetId,
  repository: "faults",
  config: {
    baseModel: "tiny",
    promptTemplate: "{sum} =",
    targetColumn: "answer",
    promptFormat: spec === "diverging" ? "chat" : "raw", // through the chat template its loss is no number after a few steps
    hyperparameters: specs[spec],
  },
});

/**
 * @param {Client} client
 * @param {string} datasetId
 * @param {Spec} spec
 * @returns {Promise<Made>}
 */
export async function createJob(client, datasetId, spec) {
  const job = await client.post("/api/v1/jobs", { ...inputOf(datasetId, spec), idempotencyKey: randomUUID() });
  return { jobIds: [job.id], specs: [spec] };
}

/**
 * @param {Client} client
 * @param {string} datasetId
 * @returns {Promise<Made>} three jobs that differ in their seed
 */
export async function createSweep(client, datasetId) {
  const grid = { seed: specsOf.sweep.map((spec) => specs[spec].seed) };
  const input = { ...inputOf(datasetId, "adamw, seed 1"), grid, idempotencyKey: randomUUID() };
  const sweep = await client.post("/api/v1/sweeps", input);
  const jobs = sweep.runs.map((/** @type {any} */ run) => run.job);
  return {
    jobIds: jobs.map((/** @type {any} */ job) => job.id),
    specs: jobs.map((/** @type {any} */ job) => {
      const spec = specsOf.sweep.find((name) => specs[name].seed === job.config.hyperparameters.seed);
      if (spec === undefined) throw new Error(`A sweep made a job of seed ${job.config.hyperparameters.seed}.`);
      return spec;
    }),
  };
}

/**
 * Until every job has ended, as the API tells it.
 * @param {Client} client
 * @param {string[]} jobIds
 * @param {number} limitMs
 */
export async function untilEnded(client, jobIds, limitMs) {
  const end = Date.now() + limitMs;
  for (const id of jobIds) {
    for (;;) {
      const job = await client.get(`/api/v1/jobs/${id}`);
      if (["succeeded", "failed", "cancelled"].includes(job.status)) break;
      if (Date.now() > end)
        throw new Error(`The job ${id} is lost: ${job.status}, attempt ${job.attempt}, for ${limitMs / 1000} s.`);
      await sleep(200);
    }
  }
}
