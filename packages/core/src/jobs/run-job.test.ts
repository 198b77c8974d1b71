import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { DatasetView } from "@grove/contracts/datasets";
import type { CreateJobInput, JobView } from "@grove/contracts/jobs";
import { createJobInput } from "@grove/contracts/jobs";
import { trainerEvent } from "@grove/contracts/trainer";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listCheckpoints } from "../adapters/checkpoints.ts";
import { openAdapterFile } from "../adapters/files.ts";
import { getAdapter } from "../adapters/read.ts";
import { authorizeRoute } from "../serving/authorize.ts";
import { alone, createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { cancelJob } from "./cancel-job.ts";
import { createJob } from "./create-job.ts";
import { pauseJob, resumeJob } from "./pause-job.ts";
import { quoteJob } from "./quote-job.ts";
import { getJob, listJobEvents, readJobLog } from "./read.ts";
import { runJob } from "./run-job.ts";
import { runQuote } from "./run-quote.ts";
import { Trainers } from "./trainers.ts";
import { quoteFolder, workFolder } from "./work-folder.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  dataset = await readyDataset(world, "sums.jsonl", sums());
}, 60_000);
afterAll(() => world.close());

function input(change: Record<string, unknown> = {}): CreateJobInput {
  const hyperparameters = { epochs: 2, batchSize: 8, rank: 4, learningRate: 0.01, checkpointEverySteps: 2, ...change };
  return createJobInput.parse({
    datasetId: dataset.id,
    repository: "sums",
    config: { baseModel: "tiny", promptTemplate: "Add.\n{sum} =", targetColumn: "answer", hyperparameters },
  });
}

async function created(job: CreateJobInput): Promise<JobView> {
  const result = await createJob(world.ctx, job);
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

async function read(id: string): Promise<JobView> {
  const result = await getJob(world.ctx, id);
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

const never = new AbortController().signal;

test("a job goes from rows to a published adapter, with its events, its log and one bill that equals the quote", async () => {
  const quote = await quoteJob(world.ctx, input());
  const job = await created(input());
  expect(job).toMatchObject({ status: "queued", attempt: 1, name: "sums", repository: "sums", adapterId: null });
  await runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  const done = await read(job.id);
  expect(done.error).toBeNull();
  expect(done).toMatchObject({ status: "succeeded", adapterId: "sums/1", progress: { step: 10, totalSteps: 10 } });
  if (!quote.ok) throw new Error(quote.message);
  expect(done.result?.trainTokens).toBe(quote.value.trainTokens);
  expect(done.result?.costMicroUsd).toBe(quote.value.priceMicroUsd);

  const events = (await listJobEvents(world.ctx, { jobId: job.id, afterSeq: 0, limit: 1000 })).map((row) => ({
    seq: row.seq,
    event: trainerEvent.parse(row.event),
  }));
  expect(events.map((row) => row.seq)).toEqual(events.map((_, i) => i + 1));
  expect(events[0]?.event).toMatchObject({
    event: "started",
    train_rows: 40,
    validation_rows: 8,
    resumed_from_step: 0,
  });
  expect(events.at(-1)?.event).toMatchObject({ event: "finished", steps: 10 });
  expect(await listJobEvents(world.otherCtx, { jobId: job.id, afterSeq: 0, limit: 10 })).toEqual([]);
  expect(await readJobLog(world.ctx, job.id)).toMatchObject({ ok: true });

  const adapter = await getAdapter(world.ctx, "sums/1");
  if (!adapter.ok) throw new Error(adapter.message);
  const hash = createHash("sha256");
  for (const name of ["adapter_config.json", "adapter_model.safetensors"] as const) {
    const file = await openAdapterFile(world.services, adapter.value.sha256, name);
    for (const chunk of (await file?.stream.toArray()) ?? []) hash.update(chunk);
  }
  expect(hash.digest("hex")).toBe(adapter.value.sha256);
  expect(await getAdapter(world.otherCtx, "sums/1")).toMatchObject({ ok: false, code: "adapter_not_found" });
  expect(existsSync(workFolder(world.services.settings, job.id).path)).toBe(false);

  await runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never); // delivered twice
  expect(await world.services.db.usageEvent.count({ where: { jobId: job.id } })).toBe(1);
  expect(await cancelJob(world.ctx, job.id)).toMatchObject({ ok: false, code: "job_not_cancellable" });
}, 60_000);

async function waitFor<T>(what: () => Promise<T | null | undefined | false>): Promise<T> {
  for (let i = 0; i < 600; i++) {
    const found = await what();
    if (found) return found;
    await sleep(50);
  }
  throw new Error("waited 30 s in vain");
}

async function eventOf(jobId: string, name: string) {
  const rows = await listJobEvents(world.ctx, { jobId, afterSeq: 0, limit: 2000 });
  return rows.map((row) => trainerEvent.parse(row.event)).findLast((event) => event.event === name);
}

function trainerPid(jobId: string): number {
  const { pid } = JSON.parse(readFileSync(workFolder(world.services.settings, jobId).trainerFile, "utf8"));
  return pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("a checkpoint can be asked for by name while its job goes on, by nobody but its organisation", async () => {
  const job = await created(input({ epochs: 1000 }));
  const running = runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  const checkpoints = async () => {
    const found = await listCheckpoints(world.ctx, job.id);
    return found.ok && found.value.length > 1 && found.value;
  };
  const [newest, older] = await waitFor(checkpoints);
  expect((await read(job.id)).status).toBe("training");
  expect(newest?.adapterId).toBe(`sums/${job.id.slice(-8)}-step-${newest?.step}`);
  expect(newest?.step).toBeGreaterThan(older?.step ?? Infinity);
  expect(newest?.sha256).not.toBe(older?.sha256);

  const id = newest?.adapterId ?? "";
  const route = await authorizeRoute(world.ctx, "tiny", [id]);
  expect(route).toMatchObject({ value: { adapters: [{ id, sha256: newest?.sha256, versionId: null }] } });
  expect(await authorizeRoute(world.otherCtx, "tiny", [id])).toMatchObject({ ok: false, code: "adapter_not_found" });
  const hash = createHash("sha256");
  for (const name of ["adapter_config.json", "adapter_model.safetensors"] as const) {
    const file = await openAdapterFile(world.services, newest?.sha256 ?? "", name);
    for await (const chunk of file?.stream ?? []) hash.update(chunk);
  }
  expect(hash.digest("hex")).toBe(newest?.sha256);
  await cancelJob(world.ctx, job.id);
  await running;
  expect(await listCheckpoints(world.otherCtx, job.id)).toMatchObject({ ok: false, code: "job_not_found" });
}, 60_000);

test("a paused job stands still and goes on where it stood", async () => {
  const job = await created(input({ epochs: 60, checkpointEverySteps: 50 }));
  const running = runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  await waitFor(() => eventOf(job.id, "step"));
  expect(await pauseJob(world.otherCtx, job.id)).toMatchObject({ ok: false, code: "job_not_found" });
  expect(await pauseJob(world.ctx, job.id)).toMatchObject({ ok: true, value: { paused: true } });
  const paused = await waitFor(() => eventOf(job.id, "paused"));
  await sleep(700);
  const last = await eventOf(job.id, "step");
  expect(last?.event === "step" && paused.event === "paused" && last.step <= paused.step).toBe(true);
  expect((await read(job.id)).status).toBe("training");
  expect(await resumeJob(world.ctx, job.id)).toMatchObject({ ok: true, value: { paused: false } });
  await running;
  expect(await read(job.id)).toMatchObject({ status: "succeeded", attempt: 1, progress: { step: 300 } });
  expect(await pauseJob(world.ctx, job.id)).toMatchObject({ ok: false, code: "job_not_pausable" });
}, 90_000);

test("a running job is cancelled within 5 seconds, its trainer is gone, and nothing is billed", async () => {
  const job = await created(input({ epochs: 1000 }));
  const running = runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  await waitFor(() => eventOf(job.id, "step"));
  const pid = trainerPid(job.id);
  const asked = Date.now();
  expect(await cancelJob(world.ctx, job.id)).toMatchObject({ ok: true, value: { cancelRequested: true } });
  await running;
  expect(Date.now() - asked).toBeLessThan(5_000);
  expect(await read(job.id)).toMatchObject({ status: "cancelled", result: null, error: null });
  expect(isAlive(pid)).toBe(false);
  expect(await world.services.db.usageEvent.count({ where: { jobId: job.id } })).toBe(0);
  expect(await cancelJob(world.ctx, job.id)).toMatchObject({ ok: true, value: { status: "cancelled" } }); // asked twice
}, 60_000);

test("a trainer that is killed goes on from its checkpoint in the next attempt, and is billed once, for what the quote said", async () => {
  const job = await created(input({ epochs: 30, checkpointEverySteps: 10 }));
  const quote = await quoteJob(world.ctx, input({ epochs: 30, checkpointEverySteps: 10 }));
  const first = runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  await waitFor(() => eventOf(job.id, "checkpoint"));
  process.kill(trainerPid(job.id), "SIGKILL");
  await first;
  expect(await read(job.id)).toMatchObject({ status: "queued", attempt: 2, error: null });
  expect(await eventOf(job.id, "warning")).toMatchObject({
    code: "trainer_died",
    message: expect.stringContaining("memory"),
  });
  await runJob(world.services, alone(world.services), { jobId: job.id, attempt: 2 }, never);
  const done = await read(job.id);
  expect(done).toMatchObject({ status: "succeeded", attempt: 2, progress: { step: 150 } });
  const started = await eventOf(job.id, "started");
  expect(started?.event === "started" && started.resumed_from_step).toBeGreaterThanOrEqual(10);
  expect(done.result?.trainTokens).toBe(quote.ok && quote.value.trainTokens);
  const seqs = (await listJobEvents(world.ctx, { jobId: job.id, afterSeq: 0, limit: 2000 })).map((row) => row.seq);
  expect(seqs).toEqual(seqs.map((_, i) => i + 1));
  expect(await world.services.db.usageEvent.count({ where: { jobId: job.id } })).toBe(1);
}, 90_000);

test("a quote becomes exact once the trainer has answered, also where the steps end within an epoch; the bill equals it", async () => {
  const asked = input({ epochs: 2, maxSteps: 7 });
  expect(await quoteJob(world.ctx, asked)).toMatchObject({ value: { status: "waiting", exact: null } });
  const overtaken = await quoteJob(world.ctx, input({ epochs: 3, maxSteps: 7 }));
  expect(overtaken).toMatchObject({ ok: true });
  const rows = await world.services.db.quote.findMany({ where: { orgId: world.ctx.orgId, status: "waiting" } });
  for (const { id } of rows.sort((a, b) => Number(a.createdAt) - Number(b.createdAt)))
    await runQuote(world.services, { quoteId: id }, never);
  expect(await world.services.db.quote.count({ where: { status: "ready" } })).toBe(1); // the latest draft alone
  await quoteJob(world.ctx, asked);
  const again = await world.services.db.quote.findFirstOrThrow({ where: { status: "waiting" } });
  await runQuote(world.services, { quoteId: again.id }, never);
  const quote = await quoteJob(world.ctx, asked);
  if (!quote.ok) throw new Error(quote.message);
  expect(quote.value).toMatchObject({ status: "ready", exact: { totalSteps: 7, trainRows: 40, rowsDropped: 0 } });
  expect(existsSync(quoteFolder(world.services.settings, again.id).path)).toBe(false);

  const job = await created(asked);
  await runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
  const { result } = await read(job.id);
  expect(result).toMatchObject({ trainTokens: quote.value.trainTokens, costMicroUsd: quote.value.priceMicroUsd });
}, 60_000);

test("a quote that the trainer cannot give says why", async () => {
  const asked = input({ epochs: 5 });
  const settings = { ...world.services.settings, python: "/no/python" };
  await quoteJob(world.ctx, asked);
  const { id } = await world.services.db.quote.findFirstOrThrow({ where: { status: "waiting" } });
  await runQuote({ ...world.services, settings }, { quoteId: id }, never);
  const quote = await quoteJob(world.ctx, asked);
  const message = expect.stringContaining("/no/python");
  expect(quote).toMatchObject({ value: { status: "failed", message, exact: null } });
}, 60_000);

const kinds = Array.from({ length: 24 }, (_, i) => {
  const [sum, good] = [`${i % 7} + ${i % 5}`, String((i % 7) + (i % 5))];
  const messages = [
    { role: "user", content: `${sum}?` },
    { role: "assistant", content: good },
  ];
  return { sum, good, bad: "99", messages, split: i < 20 ? "train" : "validation" };
});

test.each([
  [
    "conversations",
    { dataKind: "messages", promptTemplate: "{message}", targetColumn: "messages", promptFormat: "chat" },
    {},
  ],
  ["plain text", { dataKind: "text", promptTemplate: "{text}", targetColumn: "sum" }, {}],
  [
    "preferences, by DPO, over a base in four bits",
    { dataKind: "preference", promptTemplate: "{sum} =", targetColumn: "good", rejectedColumn: "bad" },
    { method: "dpo", quantization: "nf4" },
  ],
])(
  "%s are trained on and published",
  async (_name, rows, change) => {
    const of = await readyDataset(world, "kinds.jsonl", kinds.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const hyperparameters = { epochs: 1, batchSize: 8, rank: 2, ...change };
    const config = { baseModel: "tiny", hyperparameters, ...rows };
    const job = await created(createJobInput.parse({ datasetId: of.id, repository: "kinds", config }));
    await runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never);
    expect(await read(job.id)).toMatchObject({
      status: "succeeded",
      error: null,
      result: { costMicroUsd: expect.any(BigInt) },
    });
  },
  60_000,
);

/** The other trainings of this test file have nothing to do with these two. */
function pair(world: TestWorld): { trainers: Trainers; start: (job: JobView, attempt?: number) => Promise<unknown> } {
  const trainers = new Trainers({ python: world.services.settings.python, most: 2, processes: 1 });
  const start = (job: JobView, attempt = 1) => runJob(world.services, trainers, { jobId: job.id, attempt }, never);
  return { trainers, start };
}

test("jobs of one worker train in one process; each is published and billed for itself, and cancelling one leaves the other", async () => {
  const { start } = pair(world);
  const [first, second, third] = [
    await created(input({ epochs: 1000 })),
    await created(input({ epochs: 12, seed: 1 })),
    await created(input({ epochs: 2, seed: 2 })),
  ];
  const running = start(first);
  await waitFor(() => eventOf(first.id, "step"));
  const joined = start(second);
  await waitFor(() => eventOf(second.id, "step"));
  expect(trainerPid(second.id)).toBe(trainerPid(first.id));
  const queued = start(third);
  expect((await read(third.id)).status).toBe("queued"); // two at once
  await cancelJob(world.ctx, first.id);
  await Promise.all([running, joined, queued]);
  expect(await read(first.id)).toMatchObject({ status: "cancelled", result: null });
  for (const job of [second, third]) {
    const done = await read(job.id);
    expect(done).toMatchObject({ status: "succeeded", attempt: 1 });
    const quote = await quoteJob(world.ctx, input(done.config.hyperparameters));
    expect(done.result?.trainTokens).toBe(quote.ok && quote.value.trainTokens);
  }
  expect(await readJobLog(world.ctx, second.id)).not.toMatchObject({ value: expect.stringContaining(first.id) });
}, 90_000);

test("when a shared trainer is killed, every job in it goes on in its next attempt", async () => {
  const { start } = pair(world);
  const jobs = [await created(input({ epochs: 30 })), await created(input({ epochs: 30, seed: 1 }))];
  const running = jobs.map((job) => start(job));
  for (const job of jobs) await waitFor(() => eventOf(job.id, "checkpoint"));
  process.kill(trainerPid(jobs[0]?.id ?? ""), "SIGKILL");
  await Promise.all(running);
  for (const job of jobs) expect(await read(job.id)).toMatchObject({ status: "queued", attempt: 2 });
  await Promise.all(jobs.map((job) => start(job, 2)));
  for (const job of jobs) {
    expect(await read(job.id)).toMatchObject({ status: "succeeded", progress: { step: 150 } });
    expect(await world.services.db.usageEvent.count({ where: { jobId: job.id } })).toBe(1);
  }
}, 90_000);

test("a job with a time budget waits for an empty machine, and later ones wait behind it", async () => {
  const { trainers } = pair(world);
  const order: string[] = [];
  const enter = async (name: string, isAlone: boolean) => {
    const seat = await trainers.enter(isAlone, never);
    order.push(name);
    return seat;
  };
  const first = await enter("first", false);
  const budget = enter("budget", true);
  const late = enter("late", false);
  const given = new AbortController();
  const gone = trainers.enter(false, given.signal);
  given.abort();
  expect(await gone).toBeNull();
  expect(order).toEqual(["first"]);
  first?.leave();
  (await budget)?.leave();
  await late;
  expect(order).toEqual(["first", "budget", "late"]);
});
