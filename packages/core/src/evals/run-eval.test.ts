import { type CreateEvalRequest, createEvalInput, type EvalView } from "@grove/contracts/evals";
import { jobConfig } from "@grove/contracts/jobs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ingestDataset } from "../datasets/ingest.ts";
import { uploadDataset } from "../datasets/upload-dataset.ts";
import {
  adapterFileServer,
  type LocalServer,
  labelConfig,
  listen,
  makeTinyModels,
  publishAdapter,
  startEngine,
  type TestEngine,
  type TinyModels,
} from "../serving/testing.ts";
import { bytesOf, createTestWorld, type TestWorld } from "../testing.ts";
import { cancelEval } from "./cancel-eval.ts";
import { createEval } from "./create-eval.ts";
import { getEval, listEvalRows, listEvals } from "./read.ts";
import { runEval } from "./run-eval.ts";

let world: TestWorld;
let models: TinyModels;
let files: LocalServer;
let engine: TestEngine;
let datasetId: string;
let labels: string; // an adapter that was trained on labels
let free: string; // one that was trained on free text
const forever = new AbortController().signal;

function rows(count: number, split: string): string {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 3 === 0 ? "no" : "yes";
    return `${JSON.stringify({ text: `row ${i} of ${split}`, label, story: `story number ${i} in ${split}`, split })}\n`;
  }).join("");
}

async function upload(text: string): Promise<string> {
  const uploaded = await uploadDataset(
    world.ctx,
    { name: "rows", fileName: "rows.jsonl", splitSeed: 1 },
    bytesOf(text),
  );
  if (!uploaded.ok) throw new Error(uploaded.message);
  await ingestDataset(world.services, uploaded.value.id);
  return uploaded.value.id;
}

beforeAll(async () => {
  models = await makeTinyModels(2);
  files = await listen(adapterFileServer(() => world.services.storage));
  engine = await startEngine(models, { gatewayUrl: files.url });
  world = await createTestWorld({ servingUrl: engine.url, baseModel: models.base });
  datasetId = await upload(rows(30, "train") + rows(12, "test"));
  const [first, second] = models.adapters;
  if (!first || !second) throw new Error("not made");
  labels = await publishAdapter(world.ctx, first, { repository: "labels", datasetId });
  const config = jobConfig.parse({ ...labelConfig, promptTemplate: "Tell: {text}\n", targetColumn: "story" });
  free = await publishAdapter(world.ctx, second, { repository: "free", datasetId, config });
}, 90_000);
afterAll(async () => {
  await engine?.stop();
  await files?.close();
  await world?.close();
  await models?.remove();
});

async function created(input: CreateEvalRequest): Promise<EvalView> {
  const made = await createEval(world.ctx, createEvalInput.parse(input));
  if (!made.ok) throw new Error(made.message);
  return made.value;
}
async function read(id: string): Promise<EvalView> {
  const found = await getEval(world.ctx, id);
  if (!found.ok) throw new Error(found.message);
  return found.value;
}
const usageOf = (evalId: string) =>
  world.services.db.usageEvent.findMany({ where: { evalId }, orderBy: { idempotencyKey: "asc" } });

describe("createEval", () => {
  it("sees a column of few short answers as labels, and one of sentences as text", async () => {
    const [one, other] = [await created({ adapterId: labels, rows: 5 }), await created({ adapterId: free, rows: 5 })];
    expect(one).toMatchObject({
      metric: "accuracy",
      split: "test",
      rows: 5,
      done: 0,
      status: "queued",
      adapterId: labels,
      baseModel: "tiny",
      dataset: { id: datasetId },
    });
    expect(other.metric).toBe("rouge_l");
    const stored = await world.services.db.eval.findMany({
      where: { id: { in: [one.id, other.id] } },
      orderBy: { id: "asc" },
    });
    expect(stored.map((row) => row.labels)).toEqual([["yes", "no"], null]);
    // " yes" is four bytes and the end, "story number 11 in test" without a space is 23 and the end; four are spare
    expect(stored.map((row) => row.maxNewTokens)).toEqual([9, 27]);
  });

  it("takes what is held out: all rows where there are fewer, the validation split where there is no test split", async () => {
    const other = await upload(rows(30, "train") + rows(4, "validation"));
    expect(await created({ adapterId: labels, datasetId: other })).toMatchObject({ split: "validation", rows: 4 });
  });

  it("gives the same evaluation for the same key, and refuses the key for other work", async () => {
    const first = await created({ adapterId: labels, rows: 3, idempotencyKey: "k" });
    expect((await created({ adapterId: labels, rows: 3, idempotencyKey: "k" })).id).toBe(first.id);
    expect(
      await createEval(world.ctx, createEvalInput.parse({ adapterId: free, rows: 3, idempotencyKey: "k" })),
    ).toMatchObject({ ok: false, code: "idempotency_conflict" });
  });

  it.each([
    ["adapter_not_found", { adapterId: "nothing/1" }],
    ["adapter_not_found", { adapterId: "../../etc/passwd" }],
    ["dataset_not_found", { adapterId: "labels/1", datasetId: "00000000-0000-7000-8000-000000000000" }],
  ])("answers %s", async (code, input) => {
    expect(await createEval(world.ctx, createEvalInput.parse(input))).toMatchObject({ ok: false, code });
  });

  it("does not see another organisation's adapter", async () => {
    expect(await createEval(world.otherCtx, createEvalInput.parse({ adapterId: labels }))).toMatchObject({
      ok: false,
      code: "adapter_not_found",
    });
  });

  it("names the column that another data set lacks, and refuses one with nothing held out", async () => {
    const without = await upload(
      '{"other":"a","label":"x","split":"train"}\n{"other":"b","label":"y","split":"test"}\n',
    );
    expect(await createEval(world.ctx, createEvalInput.parse({ adapterId: labels, datasetId: without }))).toMatchObject(
      {
        ok: false,
        code: "template_column_missing",
        message: expect.stringContaining("text"),
      },
    );
    const trainOnly = await upload(rows(6, "train"));
    expect(
      await createEval(world.ctx, createEvalInput.parse({ adapterId: labels, datasetId: trainOnly })),
    ).toMatchObject({ ok: false, code: "dataset_too_small" });
    const target = await upload('{"text":"a","split":"train"}\n{"text":"b","split":"test"}\n');
    expect(await createEval(world.ctx, createEvalInput.parse({ adapterId: labels, datasetId: target }))).toMatchObject({
      ok: false,
      code: "target_column_missing",
    });
  });
});

describe("runEval", () => {
  it("asks both sides every row, freely and among the labels, and sums up what is stored", async () => {
    const { id } = await created({ adapterId: labels });
    expect(await runEval(world.services, { evalId: id }, forever)).toEqual({ ok: true, value: null });
    const view = await read(id);
    const { items, total } = await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 100, order: "index" });
    expect(total).toBe(12);
    expect(view).toMatchObject({ status: "succeeded", done: 12, rows: 12, error: null });
    expect(view.summary).toMatchObject({
      metric: "accuracy",
      rows: 12,
      labels: ["yes", "no"],
      adapter: { failedRows: 0 },
      base: { failedRows: 0 },
    });
    const right = items.filter((row) => row.adapter.forcedChoice === row.reference).length;
    expect(view.summary?.adapter.forcedChoice).toBeCloseTo(right / 12, 10);
    expect(items.every((row) => ["yes", "no"].includes(row.base.forcedChoice ?? ""))).toBe(true);
    expect(items[0]).toMatchObject({ prompt: "Text: row 0 of test\nLabel:", reference: "no" });
    const usage = await usageOf(id);
    expect(usage).toHaveLength(12 * 4);
    expect(view.costMicroUsd).toBe(usage.reduce((sum, row) => sum + row.costMicroUsd, 0n));
    expect(new Set(usage.map((row) => row.source))).toEqual(new Set(["evaluation"]));
    expect(view.summary?.adapter.completionTokens).toBe(
      sumOf(usage.filter((row) => row.idempotencyKey.endsWith("-adapter"))),
    );
    expect(view.summary?.seconds).toBeGreaterThan(0);
  });

  it("does nothing the second time: same rows, same bill", async () => {
    const { id } = await created({ adapterId: free, rows: 4 });
    await runEval(world.services, { evalId: id }, forever);
    const [before, bill] = [await read(id), await usageOf(id)];
    expect(await runEval(world.services, { evalId: id }, forever)).toEqual({ ok: true, value: null });
    expect(await read(id)).toEqual(before);
    expect(await usageOf(id)).toEqual(bill);
    expect(before.summary?.adapter.forcedChoice).toBeNull();
  });

  it("goes on where a killed worker stopped, and bills a row that was asked but not stored once", async () => {
    const { id } = await created({ adapterId: free, rows: 6 });
    await runEval(world.services, { evalId: id }, forever);
    const [whole, bill] = [
      await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 100, order: "index" }),
      await usageOf(id),
    ];
    const lost = whole.items.slice(2, 4).map((row) => row.index);
    await world.services.db.evalRow.deleteMany({ where: { evalId: id, index: { in: lost } } });
    await world.services.db.evalRow.updateMany({
      where: { evalId: id, index: whole.items[0]?.index ?? 0 },
      data: { adapterText: "kept" },
    });
    await world.services.db.eval.update({ where: { id }, data: { status: "running", summary: undefined } });
    await runEval(world.services, { evalId: id }, forever);
    const after = await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 100, order: "index" });
    expect(after.items.map((row) => row.index)).toEqual(whole.items.map((row) => row.index));
    expect(after.items[0]?.adapter.text).toBe("kept");
    expect(after.items.slice(1)).toEqual(whole.items.slice(1));
    expect(await usageOf(id)).toEqual(bill);
    expect((await read(id)).status).toBe("succeeded");
  });

  it("counts a row that cannot be answered as wrong and finishes the others", async () => {
    const long = `${JSON.stringify({ text: "x".repeat(700), label: "yes", split: "test" })}\n`;
    const other = await upload(rows(10, "train") + rows(3, "test") + long);
    const { id } = await created({ adapterId: labels, datasetId: other });
    await runEval(world.services, { evalId: id }, forever);
    const view = await read(id);
    expect(view).toMatchObject({
      status: "succeeded",
      summary: { rows: 4, adapter: { failedRows: 1 }, base: { failedRows: 1 } },
    });
    const { items } = await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 100, order: "index" });
    expect(items.at(-1)?.adapter).toMatchObject({ text: "", score: 0, error: expect.stringContaining("tokens") });
  });

  it("fails, with the reason, where no row at all was answered", async () => {
    const other = await upload(
      rows(10, "train") + `${JSON.stringify({ text: "x".repeat(700), label: "yes", split: "test" })}\n`,
    );
    const { id } = await created({ adapterId: labels, datasetId: other });
    expect(await runEval(world.services, { evalId: id }, forever)).toMatchObject({
      ok: false,
      code: "generation_failed",
    });
    expect(await read(id)).toMatchObject({
      status: "failed",
      error: { code: "generation_failed", message: expect.stringContaining("tokens") },
    });
  });

  it("asks to be tried again while serving is away, and says so when nobody will", async () => {
    const away = { ...world.services, settings: { ...world.services.settings, servingUrl: "http://127.0.0.1:9" } };
    const [again, never] = [
      (await created({ adapterId: free, rows: 1 })).id,
      (await created({ adapterId: free, rows: 1 })).id,
    ];
    const answers = await Promise.all([
      runEval(away, { evalId: again }, forever),
      runEval(away, { evalId: never, lastAttempt: true }, forever),
    ]);
    expect(answers.map((answer) => !answer.ok && answer.code)).toEqual(["serving_unavailable", "serving_unavailable"]);
    expect((await read(again)).status).toBe("running");
    expect(await read(never)).toMatchObject({ status: "failed", error: { code: "serving_unavailable" } });
  }, 60_000);

  it("stops when it is cancelled, keeps its rows and stays cancelled", async () => {
    const many = await upload(rows(10, "train") + rows(400, "test"));
    const { id } = await created({ adapterId: free, datasetId: many, rows: 400, maxNewTokens: 200 });
    const running = runEval(world.services, { evalId: id }, forever);
    await expect.poll(async () => (await read(id)).done, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(await cancelEval(world.ctx, id)).toMatchObject({ ok: true, value: { status: "cancelled" } });
    const started = Date.now();
    expect(await running).toEqual({ ok: true, value: null });
    expect(Date.now() - started).toBeLessThan(5_000);
    const view = await read(id);
    expect(view.status).toBe("cancelled");
    expect(view.done).toBeLessThan(400);
    expect(await runEval(world.services, { evalId: id }, forever)).toEqual({ ok: true, value: null });
    expect((await read(id)).done).toBe(view.done);
  }, 60_000);
});

describe("reading", () => {
  it("puts the rows first where the adapter did worst, and among those where the base did better", async () => {
    const { id } = await created({ adapterId: free, rows: 3 });
    const score = async (index: number, adapterScore: number, baseScore: number) =>
      world.services.db.evalRow.create({ data: { ...blank, evalId: id, index, adapterScore, baseScore } });
    for (const [index, adapterScore, baseScore] of [
      [0, 1, 0],
      [1, 0, 0],
      [2, 0, 1],
      [3, 0.5, 1],
    ] as const)
      await score(index, adapterScore, baseScore);
    const worst = await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 3, order: "worst" });
    expect(worst.items.map((row) => row.index)).toEqual([2, 1, 3]);
    expect(worst.total).toBe(4);
    expect(
      (await listEvalRows(world.ctx, { evalId: id, offset: 3, limit: 3, order: "worst" })).items.map(
        (row) => row.index,
      ),
    ).toEqual([0]);
  });

  it("is closed to another organisation", async () => {
    const { id } = await created({ adapterId: free, rows: 3 });
    expect(await getEval(world.otherCtx, id)).toMatchObject({ ok: false, code: "eval_not_found" });
    expect(await cancelEval(world.otherCtx, id)).toMatchObject({ ok: false, code: "eval_not_found" });
    expect((await listEvals(world.otherCtx, { limit: 10 })).items).toEqual([]);
    expect(await listEvalRows(world.otherCtx, { evalId: id, offset: 0, limit: 3, order: "worst" })).toEqual({
      items: [],
      total: 0,
    });
    expect((await read(id)).status).toBe("queued");
  });
});

const blank = {
  prompt: "p",
  reference: "r",
  adapterText: "",
  adapterExact: false,
  adapterRougeL: 0,
  adapterPromptTokens: 0,
  adapterCompletionTokens: 0,
  adapterSeconds: 0,
  baseText: "",
  baseExact: false,
  baseRougeL: 0,
  basePromptTokens: 0,
  baseCompletionTokens: 0,
  baseSeconds: 0,
};

function sumOf(usage: { completionTokens: number }[]): number {
  return usage.reduce((sum, row) => sum + row.completionTokens, 0);
}
