import { fail, ok, type Result } from "@grove/contracts/errors";
import type { CreateJobInput } from "@grove/contracts/jobs";
import { finetuneRun } from "@grove/contracts/messages";
import {
  type CreateSweepInput,
  type SweepQuote,
  type SweepValues,
  type SweepView,
  sweepGrid,
  sweepKnobs,
  sweepRuns,
} from "@grove/contracts/sweeps";
import { type Dataset, isUniqueViolation, type Prisma } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { priceTraining } from "../usage/prices.ts";
import { checkJob, type JobProblem } from "./check-job.ts";
import { findStart } from "./continue-from.ts";
import { insertJob } from "./create-job.ts";
import { hashInput } from "./input-hash.ts";
import { checkMemory } from "./memory.ts";
import { estimateTokens } from "./quote-job.ts";
import { jobParts, toJobViews } from "./view.ts";

const sweepParts = { jobs: { include: jobParts, orderBy: { id: "asc" } } } satisfies Prisma.SweepInclude;
type SweepRow = Prisma.SweepGetPayload<{ include: typeof sweepParts }>;

/** All its jobs or none; a worker trains them side by side, over one copy of the base. */
export async function createSweep(
  ctx: OrgCtx,
  input: CreateSweepInput,
): Promise<Result<SweepView, JobProblem | "job_too_large" | "idempotency_conflict">> {
  const { idempotencyKey = null, grid, ...job } = input;
  const inputHash = hashInput({ ...job, grid });
  const before = await findByKey(ctx, idempotencyKey);
  if (before) return sameSweep(ctx, before, inputHash);
  const checked = await checkRuns(ctx, input);
  if (!checked.ok) return checked;
  try {
    const sweep = await ctx.db.$transaction(async (tx) => {
      const name = input.name ?? input.repository;
      const { id } = await tx.sweep.create({ data: { orgId: ctx.orgId, name, grid, idempotencyKey, inputHash } });
      for (const { values, knobs } of sweepRuns(input.config.hyperparameters, grid)) {
        const run = {
          ...job,
          name: `${name}, ${describe(values)}`,
          config: { ...input.config, hyperparameters: knobs },
        };
        await insertJob(tx, ctx.orgId, run, { inputHash: null, sweepId: id });
      }
      return tx.sweep.findUniqueOrThrow({ where: { id }, include: sweepParts });
    });
    for (const { id, attempt } of sweep.jobs) await ctx.queues.send(finetuneRun, { jobId: id, attempt });
    return ok(await toSweepView(ctx, sweep));
  } catch (error) {
    const other = isUniqueViolation(error) ? await findByKey(ctx, idempotencyKey) : null;
    if (other) return sameSweep(ctx, other, inputHash);
    throw error;
  }
}

/** What all its runs will cost together, by the tokenizer of the base. */
export async function quoteSweep(
  ctx: OrgCtx,
  input: CreateSweepInput,
): Promise<Result<SweepQuote, JobProblem | "job_too_large">> {
  const { grid, ...job } = input;
  const checked = await checkRuns(ctx, input);
  if (!checked.ok) return checked;
  const runs = sweepRuns(input.config.hyperparameters, grid);
  let trainTokens = 0;
  let priceMicroUsd = 0n;
  for (const { knobs } of runs) {
    const run: CreateJobInput = { ...job, config: { ...input.config, hyperparameters: knobs } };
    const tokens = await estimateTokens(ctx, checked.value, run.config);
    if (!tokens.ok) return tokens;
    trainTokens += tokens.value;
    priceMicroUsd += priceTraining(BigInt(tokens.value));
  }
  return ok({ runs: runs.length, trainTokens, priceMicroUsd });
}

export async function getSweep(ctx: OrgCtx, id: string): Promise<Result<SweepView, "sweep_not_found">> {
  const row = await ctx.db.sweep.findFirst({ where: { id, orgId: ctx.orgId }, include: sweepParts });
  if (row === null) return fail("sweep_not_found", "There is no such sweep in this organisation.");
  return ok(await toSweepView(ctx, row));
}

/** A rank that an adapter to go on from does not have, or more memory than there is, is refused before any run is made. */
async function checkRuns(
  ctx: OrgCtx,
  { grid, ...job }: CreateSweepInput,
): Promise<Result<Dataset, JobProblem | "job_too_large">> {
  const checked = await checkJob(ctx, job);
  if (!checked.ok) return checked;
  for (const { knobs } of sweepRuns(job.config.hyperparameters, grid)) {
    const config = { ...job.config, hyperparameters: knobs };
    const start = await findStart(ctx, config);
    if (!start.ok) return start;
    const fits = await checkMemory(ctx, { datasetId: job.datasetId, config });
    if (!fits.ok) return fits;
  }
  return checked;
}

async function findByKey(ctx: OrgCtx, idempotencyKey: string | null): Promise<SweepRow | null> {
  if (idempotencyKey === null) return null;
  return ctx.db.sweep.findUnique({
    where: { orgId_idempotencyKey: { orgId: ctx.orgId, idempotencyKey } },
    include: sweepParts,
  });
}

async function sameSweep(
  ctx: OrgCtx,
  row: SweepRow,
  inputHash: string,
): Promise<Result<SweepView, "idempotency_conflict">> {
  if (row.inputHash === inputHash) return ok(await toSweepView(ctx, row));
  return fail(
    "idempotency_conflict",
    `The idempotency key was used before, for the sweep "${row.name}" with another input. Use a new key for a new sweep.`,
    { field: "idempotencyKey" },
  );
}

async function toSweepView(ctx: OrgCtx, row: SweepRow): Promise<SweepView> {
  const grid = sweepGrid.parse(row.grid);
  const varied = sweepKnobs.filter((knob) => grid[knob] !== undefined);
  const jobs = await toJobViews(ctx, row.jobs);
  return {
    id: row.id,
    name: row.name,
    grid,
    createdAt: row.createdAt,
    runs: jobs.map((job) => ({
      job,
      values: Object.fromEntries(varied.map((knob) => [knob, job.config.hyperparameters[knob]])),
    })),
  };
}

const shortNames = { learningRate: "rate", rank: "rank", epochs: "epochs", batchSize: "batch", seed: "seed" } as const;

function describe(values: SweepValues): string {
  return sweepKnobs
    .filter((knob) => values[knob] !== undefined)
    .map((knob) => `${shortNames[knob]} ${values[knob]}`)
    .join(", ");
}
