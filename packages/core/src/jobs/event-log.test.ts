import { setTimeout as sleep } from "node:timers/promises";
import { createJobInput } from "@grove/contracts/jobs";
import type { TrainerEvent } from "@grove/contracts/trainer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestWorld, readyDataset, sums, type TestWorld } from "../testing.ts";
import { createJob } from "./create-job.ts";
import { EventLog } from "./event-log.ts";
import { moveJob } from "./status.ts";

let world: TestWorld;
beforeAll(async () => {
  world = await createTestWorld();
});
afterAll(() => world.close());

const step = (number: number): TrainerEvent => ({
  event: "step",
  step: number,
  total_steps: 2,
  epoch: 1,
  loss: 1,
  learning_rate: 0.1,
  tokens: 10,
  tokens_per_second: 10,
  seconds: 1,
  seconds_left: 1,
});

test("events that came while the database stood still are stored in their order", async () => {
  const { db } = world.services;
  const dataset = await readyDataset(world, "sums.jsonl", sums());
  const config = { baseModel: "tiny", promptTemplate: "{sum} =", targetColumn: "answer", hyperparameters: {} };
  const job = await createJob(world.ctx, createJobInput.parse({ datasetId: dataset.id, repository: "order", config }));
  if (!job.ok) throw new Error(job.message);
  const jobId = job.value.id;
  await moveJob(db, jobId, { from: ["queued"], to: "preparing" });

  const log = new EventLog(db, { jobId, attempt: 1 }, () => undefined);
  const held = db.$transaction(
    async (tx) => {
      await tx.$queryRaw`SELECT id FROM jobs WHERE id = ${jobId}::uuid FOR UPDATE`;
      await sleep(6_500); // the first write has given up by then
    },
    { timeout: 20_000 },
  );
  await sleep(100);
  log.add(step(1));
  await sleep(600);
  log.add(step(2));
  await held;
  await sleep(1_500);
  await log.flush();

  const stored = await db.jobEvent.findMany({ where: { jobId }, orderBy: { seq: "asc" } });
  expect(stored.map(({ event }) => event)).toEqual([step(1), step(2)]);
  expect(await db.job.findUniqueOrThrow({ where: { id: jobId }, select: { step: true } })).toEqual({ step: 2 });
}, 30_000);
