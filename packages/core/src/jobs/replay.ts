import { Readable } from "node:stream";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { type JobConfig, jobConfig } from "@grove/contracts/jobs";
import { type ReplayPlan, type ReplaySplit, replayPlan } from "@grove/contracts/replay";
import type { Dataset } from "@grove/db";
import { readManifest } from "../adapters/about.ts";
import { versionParts } from "../adapters/view.ts";
import type { OrgCtx } from "../context.ts";
import { type Rendered, renderRows } from "../datasets/examples.ts";

type ReplayError = "job_not_found" | "run_not_replayable";

/** The manifest of a run and what it must come to. */
export async function getReplay(ctx: OrgCtx, jobId: string): Promise<Result<ReplayPlan, ReplayError>> {
  const found = await findRun(ctx, jobId);
  if (!found.ok) return found;
  const { config, dataset } = found.value;
  const version = await ctx.db.adapterVersion.findUnique({ where: { jobId }, include: versionParts });
  if (version === null)
    return fail("run_not_replayable", "Only a finished run can be replayed: this job has made no adapter.");
  const parsed = replayPlan.safeParse({
    jobId,
    adapterId: `${version.repository.name}/${version.version}`,
    sha256: version.sha256,
    baseModel: config.baseModel,
    continueFrom: config.hyperparameters.continueFrom,
    hasValidation: await hasAnswers(renderRows(ctx, dataset, config, "validation")),
    manifest: await readManifest(ctx, version),
  });
  return parsed.success
    ? ok(parsed.data)
    : fail(
        "run_not_replayable",
        "This run's manifest (grove.json) is no longer in the object store, or was made by an older trainer.",
      );
}

/** The rows as the trainer read them, rendered again, byte for byte. */
export async function openReplayRows(
  ctx: OrgCtx,
  jobId: string,
  split: ReplaySplit,
): Promise<Result<Readable, ReplayError>> {
  const found = await findRun(ctx, jobId);
  if (!found.ok) return found;
  return ok(Readable.from(linesOf(renderRows(ctx, found.value.dataset, found.value.config, split))));
}

async function* linesOf(rows: AsyncIterable<Rendered>): AsyncGenerator<Buffer> {
  for await (const { row } of rows) yield Buffer.from(`${JSON.stringify(row)}\n`);
}

/** A validation file of rows without answers was none for the trainer either. */
async function hasAnswers(rows: AsyncIterable<Rendered>): Promise<boolean> {
  for await (const { completion } of rows) if (completion.trim() !== "") return true;
  return false;
}

async function findRun(ctx: OrgCtx, id: string): Promise<Result<{ config: JobConfig; dataset: Dataset }, ReplayError>> {
  const job = await ctx.db.job.findFirst({ where: { id, orgId: ctx.orgId }, include: { dataset: true } });
  if (job === null) return fail("job_not_found", "There is no such job in this organisation.");
  if (job.status !== "succeeded")
    return fail("run_not_replayable", `Only a finished run can be replayed: this job is ${job.status}.`);
  return ok({ config: jobConfig.parse(job.config), dataset: job.dataset });
}
