// What a quote holds a job to: the bill, and the memory of the machine.
import type { DatasetView } from "@grove/contracts/datasets";
import { type CreateJobInput, createJobInput } from "@grove/contracts/jobs";
import { createSweepInput } from "@grove/contracts/sweeps";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alone, createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { createJob } from "./create-job.ts";
import { quoteJob } from "./quote-job.ts";
import { getJob } from "./read.ts";
import { runJob } from "./run-job.ts";
import { runQuote } from "./run-quote.ts";
import { createSweep } from "./sweeps.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  dataset = await readyDataset(world, "sums.jsonl", sums());
}, 60_000);
afterAll(() => world.close());

const never = new AbortController().signal;

function input(change: Record<string, unknown> = {}): CreateJobInput {
  const hyperparameters = { epochs: 2, batchSize: 8, rank: 4, learningRate: 0.01, ...change };
  const config = { baseModel: "tiny", promptTemplate: "Add.\n{sum} =", targetColumn: "answer", hyperparameters };
  return createJobInput.parse({ datasetId: dataset.id, repository: "sums", config });
}

/** Asks, and is the worker that answers; `change` is what the trainer is made to have said. */
async function quoted(asked: CreateJobInput, change: Record<string, unknown> = {}) {
  await quoteJob(world.ctx, asked);
  const { db } = world.services;
  const { id } = await db.quote.findFirstOrThrow({ where: { status: "waiting" }, orderBy: { createdAt: "desc" } });
  await runQuote(world.services, { quoteId: id }, never);
  const row = await db.quote.findUniqueOrThrow({ where: { id } });
  if (row.status !== "ready") throw new Error(row.message ?? "no quote");
  const { quote } = JSON.parse(JSON.stringify(row.result));
  await db.quote.update({ where: { id }, data: { result: { quote: { ...quote, ...change } } } });
  return { id, tokens: Number(quote.tokens) };
}

test("the bill never exceeds the quote, though the trainer counts more, where the steps end within an epoch too", async () => {
  for (const change of [{ epochs: 1 }, { epochs: 2, maxSteps: 7 }]) {
    const asked = input(change);
    const { id, tokens } = await quoted(asked);
    const job = await createJob(world.ctx, asked);
    if (!job.ok) throw new Error(job.message);
    const row = await world.services.db.quote.findUniqueOrThrow({ where: { id } });
    const { quote } = JSON.parse(JSON.stringify(row.result));
    await world.services.db.quote.update({
      where: { id },
      data: { result: { quote: { ...quote, tokens: tokens - 100 } } },
    });
    const said = await quoteJob(world.ctx, asked);
    await runJob(world.services, alone(world.services), { jobId: job.value.id, attempt: 1 }, never);
    const done = await getJob(world.ctx, job.value.id);
    expect(done.ok && done.value.result?.trainTokens).toBe(tokens); // the trainer's count is the quote's, exactly
    expect(done.ok && done.value.result?.costMicroUsd).toBe(said.ok && said.value.priceMicroUsd);
    const usage = await world.services.db.usageEvent.findFirstOrThrow({ where: { jobId: job.value.id } });
    expect(usage.trainTokens).toBe(BigInt(tokens - 100));
  }
}, 120_000);

const GB = 1e9;

test("a job that needs more memory than there is can be quoted, and is refused with what to change", async () => {
  const asked = input({ epochs: 3 });
  const { id } = await quoted(asked, { memory_bytes: 6 * GB, memory_available_bytes: 4 * GB });
  const message = expect.stringMatching(
    /needs about 6\.0 GB.*has 4\.0 GB.*batch size \(now 8\).*quantized base \(nf4\)/,
  );
  const refusal = { code: "job_too_large", field: "config.hyperparameters.batchSize", message };
  const quote = await quoteJob(world.ctx, asked);
  expect(quote).toMatchObject({ ok: true, value: { status: "ready", refusal } });
  expect(quote.ok && quote.value.exact).toMatchObject({ memoryBytes: 6 * GB, memoryAvailableBytes: 4 * GB });
  const before = await world.services.db.job.count();
  expect(await createJob(world.ctx, asked)).toMatchObject({ ok: false, ...refusal });
  const sweep = createSweepInput.parse({ ...asked, grid: { epochs: [1, 3] } });
  expect(await createSweep(world.ctx, sweep)).toMatchObject({ ok: false, code: "job_too_large" });
  expect(await world.services.db.job.count()).toBe(before);

  await world.services.db.quote.update({ where: { id }, data: { createdAt: new Date(Date.now() - 11 * 60_000) } });
  expect(await createJob(world.ctx, asked)).toMatchObject({ ok: true }); // what was said so long ago may have changed
  expect(await quoteJob(world.ctx, asked)).toMatchObject({ value: { status: "waiting", refusal: null } });
}, 60_000);

test("a job that fits, to the last byte, is taken", async () => {
  const asked = input({ epochs: 4 });
  await quoted(asked, { memory_bytes: 4 * GB, memory_available_bytes: 4 * GB });
  expect(await createJob(world.ctx, asked)).toMatchObject({ ok: true });
}, 60_000);

test("a job whose trial ran out of memory is refused; one whose trial failed otherwise is tried", async () => {
  const asked = input({ epochs: 5, batchSize: 1 });
  await quoteJob(world.ctx, asked);
  const { db } = world.services;
  const { id } = await db.quote.findFirstOrThrow({ where: { status: "waiting" }, orderBy: { createdAt: "desc" } });
  await db.quote.update({
    where: { id },
    data: { status: "failed", code: "trainer_out_of_memory", message: "8 GB are missing: a smaller batch helps." },
  });
  expect(await createJob(world.ctx, asked)).toMatchObject({
    ok: false,
    code: "job_too_large",
    field: "config.hyperparameters.maxLength",
    message: "8 GB are missing: a smaller batch helps.",
  });
  await db.quote.update({ where: { id }, data: { code: "trainer_failed" } });
  expect(await createJob(world.ctx, asked)).toMatchObject({ ok: true });
});
