import type { DatasetView } from "@grove/contracts/datasets";
import { createJobInput } from "@grove/contracts/jobs";
import { type CreateSweepInput, createSweepInput } from "@grove/contracts/sweeps";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { quoteJob } from "./quote-job.ts";
import { createSweep, getSweep, quoteSweep } from "./sweeps.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  dataset = await readyDataset(world, "sums.jsonl", sums());
}, 60_000);
afterAll(() => world.close());

const config = {
  baseModel: "tiny",
  promptTemplate: "{sum} =",
  targetColumn: "answer",
  hyperparameters: { epochs: 2, batchSize: 8 },
};
function input(grid: object, change: object = {}): CreateSweepInput {
  return createSweepInput.parse({ datasetId: dataset.id, repository: "swept", config, grid, ...change });
}

test("every combination of the values is a queued job of its own, and the rest of the configuration is the same", async () => {
  const made = await createSweep(world.ctx, input({ learningRate: [0.001, 0.01], rank: [2, 4] }));
  if (!made.ok) throw new Error(made.message);
  expect(made.value.runs.map((run) => run.values)).toEqual([
    { learningRate: 0.001, rank: 2 },
    { learningRate: 0.001, rank: 4 },
    { learningRate: 0.01, rank: 2 },
    { learningRate: 0.01, rank: 4 },
  ]);
  for (const { job, values } of made.value.runs) {
    expect(job).toMatchObject({ status: "queued", sweepId: made.value.id, repository: "swept" });
    expect(job.config.hyperparameters).toMatchObject({ ...values, epochs: 2, batchSize: 8 });
  }
  expect(made.value.runs[0]?.job.name).toBe("swept, rate 0.001, rank 2");
  expect(await getSweep(world.ctx, made.value.id)).toEqual(made);
  expect(await getSweep(world.otherCtx, made.value.id)).toMatchObject({ ok: false, code: "sweep_not_found" });
});

test("the same key is the same sweep, even asked five times at once; with another grid it is a conflict", async () => {
  const asked = input({ seed: [1, 2, 3] }, { idempotencyKey: "once" });
  const made = await Promise.all(Array.from({ length: 5 }, () => createSweep(world.ctx, asked)));
  expect(new Set(made.map((one) => one.ok && one.value.id)).size).toBe(1);
  expect(await world.services.db.job.count({ where: { sweep: { idempotencyKey: "once" } } })).toBe(3);
  const other = await createSweep(world.ctx, input({ seed: [4, 5] }, { idempotencyKey: "once" }));
  expect(other).toMatchObject({ ok: false, code: "idempotency_conflict", field: "idempotencyKey" });
});

test("its price is the sum of its jobs'", async () => {
  const quote = await quoteSweep(world.ctx, input({ epochs: [1, 3] }));
  const prices = await Promise.all(
    [1, 3].map(async (epochs) => {
      const hyperparameters = { ...config.hyperparameters, epochs };
      const job = createJobInput.parse({
        datasetId: dataset.id,
        repository: "swept",
        config: { ...config, hyperparameters },
      });
      const one = await quoteJob(world.ctx, job);
      return one.ok ? one.value.priceMicroUsd : 0n;
    }),
  );
  const priceMicroUsd = prices.reduce((sum, price) => sum + price, 0n);
  expect(quote).toMatchObject({ ok: true, value: { runs: 2, priceMicroUsd } });
});

test.each([
  ["a single combination", { rank: [8] }, "two values"],
  ["a value twice", { rank: [8, 8] }, "stands here twice"],
  ["too many runs", { rank: [1, 2, 3, 4, 5], seed: [1, 2, 3, 4] }, "at most 16 runs"],
  ["a value out of range", { rank: [8, 65] }, "<=64"],
  ["an unknown knob", { dropout: [0, 0.1] }, "Unrecognized key"],
])("a grid with %s is refused", (_name, grid, words) => {
  const body = { datasetId: dataset.id, repository: "swept", config, grid };
  expect(JSON.stringify(createSweepInput.safeParse(body).error?.issues)).toContain(words);
});
