import type { Result } from "@grove/contracts/errors";
import { jobConfig } from "@grove/contracts/jobs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listCheckpoints } from "../adapters/checkpoints.ts";
import {
  adapterFileServer,
  type LocalServer,
  labelConfig,
  listen,
  publishAdapter,
  startEngine,
  type TestEngine,
} from "../serving/testing.ts";
import { cancelEval } from "./cancel-eval.ts";
import { listEvalRows } from "./read.ts";
import { runEval } from "./run-eval.ts";
import { scoreCheckpoint } from "./score-checkpoint.ts";
import { createEvalWorld, type EvalWorld, rows } from "./testing.ts";

let world: EvalWorld;
let files: LocalServer;
let engine: TestEngine;
const forever = new AbortController().signal;

beforeAll(async () => {
  files = await listen(adapterFileServer(() => world.services.storage));
  world = await createEvalWorld(async (models) => {
    engine = await startEngine(models, { gatewayUrl: files.url });
    return engine.url;
  });
}, 90_000);
afterAll(async () => {
  await engine?.stop();
  await files?.close();
  await world?.close();
});

describe("scoreCheckpoint", () => {
  it("scores the answers to the first validation rows as an evaluation of the same adapter does, and asks once", async () => {
    const datasetId = await world.upload(rows(30, "train") + rows(9, "validation"));
    const config = jobConfig.parse({ ...labelConfig, hyperparameters: { scoreRows: 6 } });
    const [adapter] = world.models.adapters;
    if (!adapter) throw new Error("not made");
    const adapterId = await publishAdapter(world.ctx, adapter, { repository: "scored", datasetId, config });
    const { jobId, sha256, repositoryId } = await world.services.db.adapterVersion.findFirstOrThrow({
      where: { repository: { name: "scored" } },
    });
    if (jobId === null) throw new Error("not trained");
    const row = { jobId, repositoryId, sha256, bytes: 1, step: 7, name: `${jobId.slice(-8)}-step-7` };
    const { id } = await world.services.db.adapterCheckpoint.create({ data: row });
    expect(await scoreCheckpoint(world.services, { checkpointId: id }, forever)).toEqual({ ok: true, value: null });
    const made = await world.created({ adapterId, split: "validation", rows: 6 });
    await runEval(world.services, { evalId: made.id }, forever);
    const { summary } = await world.read(made.id);
    const [checkpoint] = unwrap(await listCheckpoints(world.ctx, jobId));
    expect(checkpoint?.score).toEqual({ metric: "accuracy", value: summary?.adapter.score });
    const billed = await world.usageOf(id);
    expect(billed).toHaveLength(6);
    await scoreCheckpoint(world.services, { checkpointId: id }, forever);
    expect(await world.usageOf(id)).toEqual(billed);
  });
});

describe("runEval", () => {
  it("asks both sides every row, freely and among the labels, and sums up what is stored", async () => {
    const { id } = await world.created({ adapterId: world.labels });
    expect(await runEval(world.services, { evalId: id }, forever)).toEqual({ ok: true, value: null });
    const view = await world.read(id);
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
    const usage = await world.usageOf(id);
    expect(usage).toHaveLength(12 * 4);
    expect(view.costMicroUsd).toBe(usage.reduce((sum, row) => sum + row.costMicroUsd, 0n));
    expect(new Set(usage.map((row) => row.source))).toEqual(new Set(["evaluation"]));
    expect(view.summary?.adapter.completionTokens).toBe(
      sumOf(usage.filter((row) => row.idempotencyKey.endsWith("-adapter"))),
    );
    expect(view.summary?.seconds).toBeGreaterThan(0);
  });

  it("does nothing the second time: same rows, same bill", async () => {
    const { id } = await world.created({ adapterId: world.free, rows: 4 });
    await runEval(world.services, { evalId: id }, forever);
    const [before, bill] = [await world.read(id), await world.usageOf(id)];
    expect(await runEval(world.services, { evalId: id }, forever)).toEqual({ ok: true, value: null });
    expect(await world.read(id)).toEqual(before);
    expect(await world.usageOf(id)).toEqual(bill);
    expect(before.summary?.adapter.forcedChoice).toBeNull();
  });

  it("goes on where a killed worker stopped, and bills a row that was asked but not stored once", async () => {
    const { id } = await world.created({ adapterId: world.free, rows: 6 });
    await runEval(world.services, { evalId: id }, forever);
    const [whole, bill] = [
      await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 100, order: "index" }),
      await world.usageOf(id),
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
    expect(await world.usageOf(id)).toEqual(bill);
    expect((await world.read(id)).status).toBe("succeeded");
  });

  it("counts a row that cannot be answered as wrong and finishes the others", async () => {
    const long = `${JSON.stringify({ text: "x".repeat(700), label: "yes", split: "test" })}\n`;
    const other = await world.upload(rows(10, "train") + rows(3, "test") + long);
    const { id } = await world.created({ adapterId: world.labels, datasetId: other });
    await runEval(world.services, { evalId: id }, forever);
    const view = await world.read(id);
    expect(view).toMatchObject({
      status: "succeeded",
      summary: { rows: 4, adapter: { failedRows: 1 }, base: { failedRows: 1 } },
    });
    const { items } = await listEvalRows(world.ctx, { evalId: id, offset: 0, limit: 100, order: "index" });
    expect(items.at(-1)?.adapter).toMatchObject({ text: "", score: 0, error: expect.stringContaining("tokens") });
  });

  it("fails, with the reason, where no row at all was answered", async () => {
    const other = await world.upload(
      `${rows(10, "train")}${JSON.stringify({ text: "x".repeat(700), label: "yes", split: "test" })}\n`,
    );
    const { id } = await world.created({ adapterId: world.labels, datasetId: other });
    expect(await runEval(world.services, { evalId: id }, forever)).toMatchObject({
      ok: false,
      code: "generation_failed",
    });
    expect(await world.read(id)).toMatchObject({
      status: "failed",
      error: { code: "generation_failed", message: expect.stringContaining("tokens") },
    });
  });

  it("asks to be tried again while serving is away, and says so when nobody will", async () => {
    const away = { ...world.services, settings: { ...world.services.settings, servingUrl: "http://127.0.0.1:9" } };
    const [again, never] = [
      (await world.created({ adapterId: world.free, rows: 1 })).id,
      (await world.created({ adapterId: world.free, rows: 1 })).id,
    ];
    const answers = await Promise.all([
      runEval(away, { evalId: again }, forever),
      runEval(away, { evalId: never, lastAttempt: true }, forever),
    ]);
    expect(answers.map((answer) => !answer.ok && answer.code)).toEqual(["serving_unavailable", "serving_unavailable"]);
    expect((await world.read(again)).status).toBe("running");
    expect(await world.read(never)).toMatchObject({ status: "failed", error: { code: "serving_unavailable" } });
  }, 60_000);

  it("waits for the next worker when its own is told to stop, and keeps its rows", async () => {
    const { id } = await world.created({ adapterId: world.labels });
    const stop = new AbortController();
    const running = runEval(world.services, { evalId: id }, stop.signal);
    await expect.poll(async () => (await world.read(id)).done, { timeout: 20_000 }).toBeGreaterThan(0);
    stop.abort();
    expect(await running).toEqual({ ok: true, value: null });
    const stopped = await world.read(id);
    if (stopped.status !== "succeeded") expect(stopped.status).toBe("queued"); // it may have been done by then
    await runEval(world.services, { evalId: id }, forever);
    expect(await world.read(id)).toMatchObject({ status: "succeeded", done: 12 });
    expect(await world.usageOf(id)).toHaveLength(12 * 4);
  });

  it("says that it failed when its last attempt breaks on something unforeseen", async () => {
    const broken = {
      ...world.services,
      storage: { ...world.services.storage, get: () => Promise.reject(new Error("disk")) },
    };
    const { id } = await world.created({ adapterId: world.free, rows: 1 });
    await expect(runEval(broken, { evalId: id }, forever)).rejects.toThrow("disk");
    expect((await world.read(id)).status).toBe("running");
    await expect(runEval(broken, { evalId: id, lastAttempt: true }, forever)).rejects.toThrow("disk");
    expect(await world.read(id)).toMatchObject({ status: "failed", error: { code: "internal" } });
  });

  it("stops when it is cancelled, keeps its rows and stays cancelled", async () => {
    const many = await world.upload(rows(10, "train") + rows(400, "test"));
    const { id } = await world.created({ adapterId: world.free, datasetId: many, rows: 400, maxNewTokens: 200 });
    const running = runEval(world.services, { evalId: id }, forever);
    await expect.poll(async () => (await world.read(id)).done, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(await cancelEval(world.ctx, id)).toMatchObject({ ok: true, value: { status: "cancelled" } });
    const started = Date.now();
    expect(await running).toEqual({ ok: true, value: null });
    expect(Date.now() - started).toBeLessThan(5_000);
    const view = await world.read(id);
    expect(view.status).toBe("cancelled");
    expect(view.done).toBeLessThan(400);
    expect(await runEval(world.services, { evalId: id }, forever)).toEqual({ ok: true, value: null });
    expect((await world.read(id)).done).toBe(view.done);
  }, 60_000);
});

function sumOf(usage: { completionTokens: number }[]): number {
  return usage.reduce((sum, row) => sum + row.completionTokens, 0);
}

function unwrap<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.message);
  return result.value;
}
