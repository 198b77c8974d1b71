import { afterAll, beforeAll, expect, it } from "vitest";
import { emptyDataset } from "../serving/testing.ts";
import { createTestWorld, type TestWorld } from "../testing.ts";
import { recordUsage } from "./record.ts";
import { usageReport } from "./report.ts";

let world: TestWorld;
let versionId: string;

beforeAll(async () => {
  world = await createTestWorld();
  const { ctx } = world;
  const repository = await ctx.db.repository.create({ data: { orgId: ctx.orgId, name: "tuned", baseModel: "tiny" } });
  const job = await ctx.db.job.create({
    data: {
      orgId: ctx.orgId,
      datasetId: await emptyDataset(ctx),
      repositoryId: repository.id,
      name: "j",
      status: "succeeded",
      config: {},
    },
  });
  const version = {
    orgId: ctx.orgId,
    repositoryId: repository.id,
    jobId: job.id,
    version: 2,
    sha256: "0",
    bytes: 1,
    config: {},
    trainLoss: 0,
  };
  versionId = (await ctx.db.adapterVersion.create({ data: version })).id;
});
afterAll(() => world.close());

async function prompt(
  key: string,
  adapterVersionId: string | null,
  daysAgo = 0,
  orgId = world.ctx.orgId,
): Promise<void> {
  await recordUsage(world.services.db, {
    kind: "inference",
    orgId,
    idempotencyKey: key,
    source: "api",
    baseModel: "tiny",
    adapterVersionId,
    promptTokens: 10,
    completionTokens: 5,
  });
  await world.services.db.usageEvent.update({
    where: { idempotencyKey: key },
    data: { createdAt: new Date(Date.now() - daysAgo * 86_400_000) },
  });
}

it("sums by day, kind, source and adapter, newest day first, and totals what it shows", async () => {
  await prompt("a", versionId);
  await prompt("b", versionId);
  await prompt("c", null);
  await prompt("d", versionId, 1);
  await prompt("too old", versionId, 40);
  await prompt("foreign", null, 0, world.otherCtx.orgId);
  await recordUsage(world.services.db, {
    kind: "training",
    orgId: world.ctx.orgId,
    idempotencyKey: "t",
    baseModel: "tiny",
    adapterVersionId: versionId,
    jobId: versionId,
    trainTokens: 3_000_000_000n,
    trainSeconds: 12.5,
  });
  const { rows, totalMicroUsd, prices } = await usageReport(world.ctx, { days: 30 });
  const [today, yesterday] = [0, 1].map((days) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10));
  expect(
    rows.map((row) => [
      row.day,
      row.kind,
      row.source,
      row.adapterId,
      row.requests,
      row.promptTokens,
      row.completionTokens,
    ]),
  ).toEqual([
    [today, "inference", "api", null, 1, 10, 5],
    [today, "inference", "api", "tuned/2", 2, 20, 10],
    [today, "training", "training", "tuned/2", 1, 0, 0],
    [yesterday, "inference", "api", "tuned/2", 1, 10, 5],
  ]);
  expect(rows[2]).toMatchObject({
    trainTokens: 3_000_000_000,
    trainSeconds: 12.5,
    costMicroUsd: 3_000n * prices.trainPerMillion,
  });
  expect(rows[1]?.costMicroUsd).toBe(4n); // 10 * 0.1 + 5 * 0.2 micro-dollars, twice
  expect(totalMicroUsd).toBe(rows.reduce((sum, row) => sum + row.costMicroUsd, 0n));
});

it("counts today as the first day", async () => {
  const { rows } = await usageReport(world.ctx, { days: 1 });
  expect(new Set(rows.map((row) => row.day)).size).toBe(1);
});
