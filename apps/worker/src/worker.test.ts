// Real worker processes on a real queue: what a person sees when one of them is killed.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createJobInput, type JobView } from "@grove/contracts/jobs";
import { getDataset } from "@grove/core/datasets/read";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import { createJob } from "@grove/core/jobs/create-job";
import { getJob, listJobEvents } from "@grove/core/jobs/read";
import { workFolder } from "@grove/core/jobs/work-folder";
import { bytesOf, createTestWorld, sums, type TestWorld, writeTinyBase } from "@grove/core/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

let world: TestWorld;
const workers: ChildProcess[] = [];
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
}, 60_000);
afterEach(() => {
  for (const worker of workers.splice(0)) worker.kill("SIGKILL");
});
afterAll(() => world.close());

async function startWorker(): Promise<ChildProcess> {
  const { settings } = world.services;
  const worker = spawn(process.execPath, ["--import", "tsx", "src/main.ts"], {
    cwd: join(import.meta.dirname, ".."),
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      DATABASE_URL: settings.databaseUrl,
      REDIS_URL: settings.redisUrl,
      GROVE_DATA: world.folder,
      GROVE_STORAGE_DIR: settings.storageFolder,
      GROVE_WORK_DIR: settings.workFolder,
      GROVE_INTERNAL_SECRET: settings.internalSecret,
      GROVE_GATEWAY_URL: settings.gatewayUrl,
      GROVE_SERVING_URL: settings.servingUrl,
      GROVE_BASE_MODEL: settings.baseModel.id,
      GROVE_BASE_MODEL_PATH: settings.baseModel.path,
      GROVE_PYTHON: settings.python,
      GROVE_QUEUE_PREFIX: settings.queuePrefix,
      GROVE_WORKER_LOCK_MS: "2000",
      GROVE_WORKER_STALE_MS: "3000",
      GROVE_WORKER_SWEEP_MS: "500",
    },
  });
  workers.push(worker);
  let said = "";
  worker.stdout?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  await waitFor(async () => said.includes("worker ready"));
  return worker;
}

async function waitFor<T>(what: () => Promise<T | null | undefined | false>, seconds = 60): Promise<T> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    const found = await what();
    if (found) return found;
    await sleep(100);
  }
  throw new Error(`waited ${seconds} s in vain`);
}

async function upload(fileName: string, content: string): Promise<string> {
  const uploaded = await uploadDataset(world.ctx, { name: fileName, fileName, splitSeed: 42 }, bytesOf(content));
  if (!uploaded.ok) throw new Error(uploaded.message);
  return uploaded.value.id;
}

async function settledDataset(id: string) {
  return waitFor(async () => {
    const dataset = await getDataset(world.ctx, id);
    return dataset.ok && dataset.value.status !== "profiling" && dataset.value;
  });
}

async function job(id: string): Promise<JobView> {
  const view = await getJob(world.ctx, id);
  if (!view.ok) throw new Error(view.message);
  return view.value;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("kill -9 of the worker in mid-training: its trainer ends, another worker goes on from the checkpoint, one bill", async () => {
  const first = await startWorker();
  const datasetId = await upload("sums.jsonl", sums());
  const bad = await settledDataset(await upload("bad.csv", "a,b\n1,2\n1,2,3\n"));
  expect(bad).toMatchObject({ status: "failed", error: { code: "dataset_file_invalid", line: 3 } });
  expect(await settledDataset(datasetId)).toMatchObject({ status: "ready", profile: { rows: 48 } });

  const hyperparameters = { epochs: 40, batchSize: 8, rank: 4, learningRate: 0.01, checkpointEverySteps: 10 };
  const config = { baseModel: "tiny", promptTemplate: "{sum} =", targetColumn: "answer", hyperparameters };
  const created = await createJob(world.ctx, createJobInput.parse({ datasetId, repository: "sums", config }));
  if (!created.ok) throw new Error(created.message);
  const { id } = created.value;
  const events = async () =>
    (await listJobEvents(world.ctx, { jobId: id, afterSeq: 0, limit: 2000 })).map((row) => JSON.stringify(row.event));
  await waitFor(async () => (await events()).some((event) => event.includes('"checkpoint"')));
  const { pid } = JSON.parse(readFileSync(workFolder(world.services.settings, id).trainerFile, "utf8"));
  first.kill("SIGKILL");
  await waitFor(async () => !isAlive(pid), 10); // not left behind

  await startWorker();
  const done = await waitFor(async () => {
    const view = await job(id);
    return ["succeeded", "failed"].includes(view.status) && view;
  });
  expect(done).toMatchObject({ status: "succeeded", attempt: 2, adapterId: "sums/1" });
  const resumed = (await events()).find(
    (event) => event.includes('"started"') && !event.includes('"resumed_from_step":0'),
  );
  expect(resumed).toBeDefined();
  expect(await world.services.db.usageEvent.count({ where: { jobId: id } })).toBe(1);
  expect(await world.services.db.adapterVersion.count({ where: { jobId: id } })).toBe(1);
}, 150_000);

test("SIGTERM: the worker ends by itself within 8 seconds and its running job waits for the next one", async () => {
  const worker = await startWorker();
  const datasetId = await upload("sums.jsonl", sums());
  await settledDataset(datasetId);
  const config = {
    baseModel: "tiny",
    promptTemplate: "{sum} =",
    targetColumn: "answer",
    hyperparameters: { epochs: 1000, batchSize: 1 },
  };
  const created = await createJob(world.ctx, createJobInput.parse({ datasetId, repository: "stopped", config }));
  if (!created.ok) throw new Error(created.message);
  await waitFor(async () => (await job(created.value.id)).progress !== null);
  const asked = Date.now();
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  worker.kill("SIGTERM");
  expect(await ended).toBe(0);
  expect(Date.now() - asked).toBeLessThan(8_000);
  expect(await job(created.value.id)).toMatchObject({ status: "queued", attempt: 2, error: null });
}, 90_000);
