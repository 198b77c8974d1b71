import type { DatasetView } from "@grove/contracts/datasets";
import { createJobInput } from "@grove/contracts/jobs";
import { trainerEvent } from "@grove/contracts/trainer";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { cancelJob } from "./cancel-job.ts";
import { createJob } from "./create-job.ts";
import { getJob, listJobEvents } from "./read.ts";
import { runJob } from "./run-job.ts";
import { Trainers } from "./trainers.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  dataset = await readyDataset(world, "sums.jsonl", sums());
}, 60_000);
afterAll(() => world.close());

const never = new AbortController().signal;

async function created(epochs: number): Promise<string> {
  const hyperparameters = { epochs, batchSize: 8, rank: 4, learningRate: 0.01 };
  const config = { baseModel: "tiny", promptTemplate: "Add.\n{sum} =", targetColumn: "answer", hyperparameters };
  const job = await createJob(world.ctx, createJobInput.parse({ datasetId: dataset.id, repository: "sums", config }));
  if (!job.ok) throw new Error(job.message);
  return job.value.id;
}

async function eventsOf(jobId: string) {
  const rows = await listJobEvents(world.ctx, { jobId, afterSeq: 0, limit: 2000 });
  return rows.map((row) => trainerEvent.parse(row.event));
}

test("two processes train jobs together: events come once, a job joins over stdin, one is cancelled and one is published", async () => {
  const trainers = new Trainers({ python: world.services.settings.python, most: 2, processes: 2 });
  const start = (jobId: string) => runJob(world.services, trainers, { jobId, attempt: 1 }, never);
  const [endless, short] = [await created(1000), await created(2)];
  const running = start(endless);
  await vi.waitFor(async () => expect((await eventsOf(endless)).some((e) => e.event === "step")).toBe(true), 60_000);
  await start(short);
  await cancelJob(world.ctx, endless);
  await running;
  expect(await getJob(world.ctx, endless)).toMatchObject({ value: { status: "cancelled" } });
  expect(await getJob(world.ctx, short)).toMatchObject({ value: { status: "succeeded", attempt: 1, error: null } });
  for (const jobId of [endless, short]) {
    const started = (await eventsOf(jobId)).filter((event) => event.event === "started");
    expect(started).toMatchObject([{ device: expect.stringContaining("2 processes") }]);
  }
}, 120_000);
