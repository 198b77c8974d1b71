import { createEvalInput } from "@grove/contracts/evals";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authorizeRoute } from "../serving/authorize.ts";
import { labelConfig, publishAdapter } from "../serving/testing.ts";
import { cancelEval } from "./cancel-eval.ts";
import { createEval } from "./create-eval.ts";
import { getEval, listEvalRows, listEvals } from "./read.ts";
import { createEvalWorld, type EvalWorld, rows } from "./testing.ts";

let world: EvalWorld;
beforeAll(async () => {
  world = await createEvalWorld(async () => "http://127.0.0.1:9"); // nothing is asked here
}, 60_000);
afterAll(() => world?.close());

async function dorasOf({ ctx, models, datasetId }: EvalWorld): Promise<string> {
  const [made] = models.adapters;
  if (!made) throw new Error("not made");
  const hyperparameters = { ...labelConfig.hyperparameters, useDora: true };
  return publishAdapter(ctx, made, { repository: "dora", datasetId, config: { ...labelConfig, hyperparameters } });
}

describe("createEval", () => {
  it("sees a column of few short answers as labels, and one of sentences as text", async () => {
    const [one, other] = [
      await world.created({ adapterId: world.labels, rows: 5 }),
      await world.created({ adapterId: world.free, rows: 5 }),
    ];
    expect(one).toMatchObject({
      metric: "accuracy",
      split: "test",
      rows: 5,
      done: 0,
      status: "queued",
      adapterId: world.labels,
      baseModel: "tiny",
      dataset: { id: world.datasetId },
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
    const other = await world.upload(rows(30, "train") + rows(4, "validation"));
    expect(await world.created({ adapterId: world.labels, datasetId: other })).toMatchObject({
      split: "validation",
      rows: 4,
    });
  });

  it("gives the same evaluation for the same key, and refuses the key for other work", async () => {
    const first = await world.created({ adapterId: world.labels, rows: 3, idempotencyKey: "k" });
    expect((await world.created({ adapterId: world.labels, rows: 3, idempotencyKey: "k" })).id).toBe(first.id);
    expect(
      await createEval(world.ctx, createEvalInput.parse({ adapterId: world.free, rows: 3, idempotencyKey: "k" })),
    ).toMatchObject({ ok: false, code: "idempotency_conflict" });
  });

  it("refuses an adapter that the engine does not serve, and says what it is for; so does a prompt", async () => {
    const dora = await dorasOf(world);
    expect(await createEval(world.ctx, createEvalInput.parse({ adapterId: dora }))).toMatchObject({
      ok: false,
      code: "config_invalid",
      field: "adapterId",
      message: expect.stringContaining("Download it, or take it merged"),
    });
    expect(await authorizeRoute(world.ctx, "tiny", [dora])).toMatchObject({
      ok: false,
      code: "invalid_input",
      field: "adapter_id",
      message: expect.stringContaining("DoRA"),
    });
  });

  it.each([
    ["adapter_not_found", { adapterId: "nothing/1" }],
    ["adapter_not_found", { adapterId: "../../etc/passwd" }],
    ["dataset_not_found", { adapterId: "labels/1", datasetId: "00000000-0000-7000-8000-000000000000" }],
  ])("answers %s", async (code, input) => {
    expect(await createEval(world.ctx, createEvalInput.parse(input))).toMatchObject({ ok: false, code });
  });

  it("does not see another organisation's adapter", async () => {
    expect(await createEval(world.otherCtx, createEvalInput.parse({ adapterId: world.labels }))).toMatchObject({
      ok: false,
      code: "adapter_not_found",
    });
  });

  it("names the column that another data set lacks, and refuses one with nothing held out", async () => {
    const without = await world.upload(
      '{"other":"a","label":"x","split":"train"}\n{"other":"b","label":"y","split":"test"}\n',
    );
    expect(
      await createEval(world.ctx, createEvalInput.parse({ adapterId: world.labels, datasetId: without })),
    ).toMatchObject({
      ok: false,
      code: "template_column_missing",
      message: expect.stringContaining("text"),
    });
    const trainOnly = await world.upload(rows(6, "train"));
    expect(
      await createEval(world.ctx, createEvalInput.parse({ adapterId: world.labels, datasetId: trainOnly })),
    ).toMatchObject({ ok: false, code: "dataset_too_small" });
    const target = await world.upload('{"text":"a","split":"train"}\n{"text":"b","split":"test"}\n');
    expect(
      await createEval(world.ctx, createEvalInput.parse({ adapterId: world.labels, datasetId: target })),
    ).toMatchObject({
      ok: false,
      code: "target_column_missing",
    });
  });
});

describe("reading", () => {
  it("puts the rows first where the adapter did worst, and among those where the base did better", async () => {
    const { id } = await world.created({ adapterId: world.free, rows: 3 });
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
    const { id } = await world.created({ adapterId: world.free, rows: 3 });
    expect(await getEval(world.otherCtx, id)).toMatchObject({ ok: false, code: "eval_not_found" });
    expect(await cancelEval(world.otherCtx, id)).toMatchObject({ ok: false, code: "eval_not_found" });
    expect((await listEvals(world.otherCtx, { limit: 10 })).items).toEqual([]);
    expect(await listEvalRows(world.otherCtx, { evalId: id, offset: 0, limit: 3, order: "worst" })).toEqual({
      items: [],
      total: 0,
    });
    expect((await world.read(id)).status).toBe("queued");
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
