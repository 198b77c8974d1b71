// What a job starts from and what it ends with: the real trainer on a tiny base; the test stands in for the engine's scores.
import { setTimeout as sleep } from "node:timers/promises";
import type { DatasetView } from "@grove/contracts/datasets";
import { type CreateJobInput, createJobInput, type JobView } from "@grove/contracts/jobs";
import { trainerEvent } from "@grove/contracts/trainer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listCheckpoints } from "../adapters/checkpoints.ts";
import { openAdapterFile } from "../adapters/files.ts";
import { getAdapter } from "../adapters/read.ts";
import { alone, bytesOf, createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { createJob } from "./create-job.ts";
import { getJob, listJobEvents } from "./read.ts";
import { runJob } from "./run-job.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  dataset = await readyDataset(world, "sums.jsonl", sums());
}, 60_000);
afterAll(() => world.close());

const never = new AbortController().signal;

function input(repository: string, change: Record<string, unknown> = {}): CreateJobInput {
  const hyperparameters = { epochs: 2, batchSize: 8, rank: 4, learningRate: 0.01, ...change };
  const config = { baseModel: "tiny", promptTemplate: "Add.\n{sum} =", targetColumn: "answer", hyperparameters };
  return createJobInput.parse({ datasetId: dataset.id, repository, config });
}

async function created(job: CreateJobInput): Promise<JobView> {
  const result = await createJob(world.ctx, job);
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

async function ran(job: CreateJobInput): Promise<JobView> {
  const { id } = await created(job);
  await runJob(world.services, alone(world.services), { jobId: id, attempt: 1 }, never);
  const done = await getJob(world.ctx, id);
  if (!done.ok) throw new Error(done.message);
  return done.value;
}

async function events(jobId: string) {
  const rows = await listJobEvents(world.ctx, { jobId, afterSeq: 0, limit: 2000 });
  return rows.map((row) => trainerEvent.parse(row.event));
}

async function firstLoss(jobId: string): Promise<number> {
  const step = (await events(jobId)).find((event) => event.event === "step");
  return step?.event === "step" ? step.loss : Number.NaN;
}

test("a job goes on from a version and from a checkpoint: its first loss is below a fresh one's", async () => {
  const first = await ran(input("first", { epochs: 12, checkpointEverySteps: 20 }));
  expect(first).toMatchObject({ status: "succeeded", adapterId: "first/1" });
  const [checkpoint] = await world.services.db.adapterCheckpoint.findMany({ where: { jobId: first.id }, take: 1 });
  for (const continueFrom of ["first/1", `first/${checkpoint?.name}`]) {
    const next = await ran(input("next", { continueFrom, epochs: 1, warmupRatio: 0 }));
    expect(next).toMatchObject({ status: "succeeded", error: null, config: { hyperparameters: { continueFrom } } });
    expect(await firstLoss(next.id)).toBeLessThan(0.8 * (await firstLoss(first.id)));
  }
}, 120_000);

test.each([
  ["rank", { rank: 8 }, "its rank: set it to 4, not 8"],
  ["alpha", { alpha: 4 }, "its alpha: set it to 8, not 4"],
  ["targetModules", { targetModules: ["q_proj"] }, "its layers"],
  ["useDora", { useDora: true }, "DoRA"],
])("an adapter of another %s cannot be gone on from", async (knob, change, words) => {
  const refused = await createJob(world.ctx, input("other", { continueFrom: "first/1", ...change }));
  expect(refused).toMatchObject({
    ok: false,
    code: "config_invalid",
    field: `config.hyperparameters.${knob}`,
    message: expect.stringContaining(words),
  });
});

test("an adapter to go on from that is not there, or another organisation's, is not found", async () => {
  const told = { ok: false, code: "adapter_not_found", field: "config.hyperparameters.continueFrom" };
  expect(await createJob(world.ctx, input("other", { continueFrom: "first/9" }))).toMatchObject(told);
  const theirs = await readyDataset({ ...world, ctx: world.otherCtx }, "sums.jsonl", sums());
  const asked = { ...input("other", { continueFrom: "first/1" }), datasetId: theirs.id };
  expect(await createJob(world.otherCtx, asked)).toMatchObject(told);
});

test("an adapter to go on from that is gone when the job begins fails it in words, not in tries", async () => {
  const { id } = await created(input("lost", { continueFrom: "first/1" }));
  const { sha256 } = await world.services.db.adapterVersion.findFirstOrThrow({
    where: { repository: { name: "first" } },
  });
  const key = `adapters/${sha256}/adapter_config.json`;
  const kept = await openAdapterFile(world.services, sha256, "adapter_config.json");
  const bytes = await kept?.stream.toArray();
  await world.services.storage.delete(key);
  await runJob(world.services, alone(world.services), { jobId: id, attempt: 1 }, never);
  await world.services.storage.put(key, bytesOf(...(bytes ?? [])));
  const error = { code: "adapter_not_found", message: expect.stringContaining("no longer in the object store") };
  expect(await getJob(world.ctx, id)).toMatchObject({ value: { status: "failed", attempt: 1, error } });
});

test("DoRA with eight-bit AdamW is trained and published with its magnitudes", async () => {
  const done = await ran(input("dora", { useDora: true, optimizer: "adamw_8bit" }));
  expect(done).toMatchObject({ status: "succeeded", adapterId: "dora/1" });
  const adapter = await getAdapter(world.ctx, "dora/1");
  const file = adapter.ok ? await openAdapterFile(world.services, adapter.value.sha256, "adapter_config.json") : null;
  const text = Buffer.concat((await file?.stream.toArray()) ?? []).toString();
  expect(JSON.parse(text)).toMatchObject({ use_dora: true });
}, 60_000);

test("a job that stops by the score ends with its best checkpoint, once as many later ones were no better", async () => {
  const job = await created(
    input("scored", { epochs: 1000, checkpointEverySteps: 100, scoreRows: 4, stopOnScore: { patience: 3 } }),
  );
  const running = runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  const best = await scoreUntilDone(job.id, running);
  const finished = (await events(job.id)).at(-1);
  expect(finished).toMatchObject({ event: "finished", stopped_by: "task_metric" });
  expect(finished?.event === "finished" && finished.sha256).toBe(best.sha256);
  expect(await getAdapter(world.ctx, "scored/1")).toMatchObject({ value: { sha256: best.sha256 } });
  const done = await getJob(world.ctx, job.id);
  expect(done.ok && done.value.result?.costMicroUsd).toBeGreaterThan(0n);
}, 120_000);

/** The engine in the test's place: the first checkpoint of all is the best, the others score the same. */
async function scoreUntilDone(jobId: string, running: Promise<unknown>) {
  let over = false;
  void running.then(() => {
    over = true;
  });
  let best: { step: number; sha256: string } | null = null;
  while (!over) {
    const rows = await world.services.db.adapterCheckpoint.findMany({ where: { jobId }, orderBy: { step: "asc" } });
    for (const { id, step, sha256, score } of rows) {
      if (score !== null) continue;
      best ??= { step, sha256 };
      const data = { metric: "accuracy", score: step === best.step ? 0.75 : 0.5 };
      await world.services.db.adapterCheckpoint.updateMany({ where: { id }, data });
    }
    await sleep(50);
  }
  await running;
  if (best === null) throw new Error("there was no checkpoint");
  expect((await listCheckpoints(world.ctx, jobId)).ok).toBe(true);
  return best;
}

test.each([
  ["nothing is scored", { scoreRows: 0 }, "set the answers checked (scoreRows)"],
  ["a DoRA adapter cannot answer", { useDora: true, scoreRows: 4 }, "does not serve DoRA"],
  ["it cannot answer, scored or not", { useDora: true }, "does not serve DoRA"],
])("stopping by the score is refused where %s", async (_why, change, words) => {
  const refused = await createJob(world.ctx, input("other", { stopOnScore: { patience: 2 }, ...change }));
  expect(refused).toMatchObject({ ok: false, code: "config_invalid", message: expect.stringContaining(words) });
});

test("stopping by the score is refused where no row is held out for it, and where no answer is right", async () => {
  const knobs = { scoreRows: 4, stopOnScore: { patience: 2 } };
  const trainOnly = await readyDataset(world, "t.jsonl", sums().replaceAll('"validation"', '"train"'));
  const unheld = await createJob(world.ctx, { ...input("other", knobs), datasetId: trainOnly.id });
  expect(unheld).toMatchObject({ ok: false, message: expect.stringContaining("no validation rows") });
  const asked = input("other", knobs);
  const text = { ...asked, config: { ...asked.config, dataKind: "text" as const, targetColumn: "sum" } };
  expect(await createJob(world.ctx, text)).toMatchObject({
    ok: false,
    message: expect.stringContaining("right answers"),
  });
});
