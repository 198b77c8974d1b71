import type { DatasetView } from "@grove/contracts/datasets";
import { type CreateJobRequest, createJobInput } from "@grove/contracts/jobs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { uploadDataset } from "../datasets/upload-dataset.ts";
import { bytesOf, createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { cancelJob } from "./cancel-job.ts";
import { createJob } from "./create-job.ts";
import { quoteJob } from "./quote-job.ts";
import { listJobs } from "./read.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  dataset = await readyDataset(world, "sums.jsonl", sums());
}, 60_000);
afterAll(() => world.close());

function request(change: Partial<CreateJobRequest> = {}, config: Partial<CreateJobRequest["config"]> = {}) {
  return createJobInput.parse({
    datasetId: dataset.id,
    repository: "sums",
    config: { baseModel: "tiny", promptTemplate: "{sum} =", targetColumn: "answer", hyperparameters: {}, ...config },
    ...change,
  });
}

async function tiny(rows: string): Promise<string> {
  return (await readyDataset(world, "small.jsonl", rows)).id;
}

test.each([
  ["template_column_missing", "config.promptTemplate", { promptTemplate: "{summ} =" }, 'Did you mean "sum"?'],
  ["target_column_missing", "config.targetColumn", { targetColumn: "anser" }, 'Did you mean "answer"?'],
  ["config_invalid", "config.promptTemplate", { promptTemplate: "{sum} = {answer}" }, "only copy it"],
  ["config_invalid", "config.promptTemplate", { promptTemplate: "no column" }, "every prompt would be the same"],
  ["config_invalid", "config.promptTemplate", { promptTemplate: "line 1\n{sum" }, "line 2"],
  ["config_invalid", "config.promptTemplate", { promptTemplate: "{sum}}" }, "never opened"],
  ["base_model_not_found", "config.baseModel", { baseModel: "gpt-9" }, 'has "tiny"'],
])("%s at %s, for the quote as for the job", async (code, field, config, words) => {
  for (const act of [createJob, quoteJob]) {
    const result = await act(world.ctx, request({}, config));
    expect(result).toMatchObject({ ok: false, code, field, message: expect.stringContaining(words) });
  }
});

test("data sets that cannot be trained on are refused in plain words", async () => {
  const one = await createJob(
    world.ctx,
    request({ datasetId: await tiny('{"sum":"1","answer":"2","split":"train"}\n') }),
  );
  expect(one).toMatchObject({
    ok: false,
    code: "dataset_too_small",
    message: expect.stringContaining("1 training row, too few to learn from: at least 10"),
  });
  const empty = sums().replaceAll(/"answer":"\d+"/g, '"answer":""');
  expect(await createJob(world.ctx, request({ datasetId: await tiny(empty) }))).toMatchObject({
    ok: false,
    code: "dataset_too_small",
    message: expect.stringContaining('"answer" is empty'),
  });
  const waiting = await uploadDataset(world.ctx, { name: "w", fileName: "w.csv", splitSeed: 1 }, bytesOf("a,b\n1,2\n"));
  expect(await createJob(world.ctx, request({ datasetId: waiting.ok ? waiting.value.id : "" }))).toMatchObject({
    ok: false,
    code: "dataset_not_ready",
  });
  expect(await createJob(world.otherCtx, request())).toMatchObject({ ok: false, code: "dataset_not_found" });
});

test("the same key is the same job, even asked ten times at once; with another input it is a conflict", async () => {
  const before = await world.services.db.job.count();
  const asked = request({ idempotencyKey: "k-1" });
  const results = await Promise.all(Array.from({ length: 10 }, () => createJob(world.ctx, asked)));
  expect(new Set(results.map((result) => result.ok && result.value.id)).size).toBe(1);
  expect(await world.services.db.job.count()).toBe(before + 1);
  const other = await createJob(world.ctx, request({ idempotencyKey: "k-1", name: "another" }));
  expect(other).toMatchObject({ ok: false, code: "idempotency_conflict", field: "idempotencyKey" });
});

test("a repository holds adapters of one base", async () => {
  await world.services.db.repository.create({ data: { orgId: world.ctx.orgId, name: "old", baseModel: "another" } });
  expect(await createJob(world.ctx, request({ repository: "old" }))).toMatchObject({
    ok: false,
    code: "config_invalid",
    field: "repository",
  });
});

test("a waiting job is cancelled at once; another organisation cannot touch it", async () => {
  const job = await createJob(world.ctx, request());
  if (!job.ok) throw new Error(job.message);
  expect(await cancelJob(world.otherCtx, job.value.id)).toMatchObject({ ok: false, code: "job_not_found" });
  expect(await cancelJob(world.ctx, job.value.id)).toMatchObject({ ok: true, value: { status: "cancelled" } });
  expect((await listJobs(world.otherCtx, { limit: 10 })).items).toEqual([]);
});

test("a quote is capped by the steps and cut at the maximum length", async () => {
  const tokens = async (hyperparameters: object) => {
    const quote = await quoteJob(world.ctx, request({}, { hyperparameters: { batchSize: 8, ...hyperparameters } }));
    if (!quote.ok) throw new Error(quote.message);
    return quote.value.trainTokens;
  };
  const one = await tokens({ epochs: 1, maxLength: 100 });
  expect(await tokens({ epochs: 3, maxLength: 100 })).toBe(3 * one);
  expect(await tokens({ epochs: 3, maxLength: 100, maxSteps: 5 })).toBe(one);
  expect(await tokens({ epochs: 1, maxLength: 9 })).toBeLessThan(one);
});
