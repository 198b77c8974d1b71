import { fail, ok, type Result } from "@grove/contracts/errors";
import type { CreateJobInput, JobView } from "@grove/contracts/jobs";
import { finetuneRun } from "@grove/contracts/messages";
import { isUniqueViolation } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { checkJob, type JobProblem } from "./check-job.ts";
import { hashInput } from "./input-hash.ts";
import { type JobRow, jobParts, toJobViews } from "./view.ts";

/**
 * Writes the row, then sends the message; where the queue is down the worker's sweep sends it later. The same key with the
 * same input is the same job, however often and however concurrently it is asked for.
 */
export async function createJob(
  ctx: OrgCtx,
  input: CreateJobInput,
): Promise<Result<JobView, JobProblem | "idempotency_conflict">> {
  const { idempotencyKey: _key, ...what } = input;
  const inputHash = hashInput(what);
  const before = await findByKey(ctx, input.idempotencyKey);
  if (before) return sameJob(ctx, before, inputHash);
  const checked = await checkJob(ctx, input);
  if (!checked.ok) return checked;
  try {
    const row = await insertJob(ctx, input, inputHash);
    await ctx.queues.send(finetuneRun, { jobId: row.id, attempt: row.attempt });
    return view(ctx, row);
  } catch (error) {
    const other = isUniqueViolation(error) ? await findByKey(ctx, input.idempotencyKey) : null;
    if (other) return sameJob(ctx, other, inputHash);
    throw error;
  }
}

async function insertJob(ctx: OrgCtx, input: CreateJobInput, inputHash: string): Promise<JobRow> {
  const { orgId } = ctx;
  const { config, datasetId, repository: name } = input;
  await ctx.db.repository.createMany({ data: [{ orgId, name, baseModel: config.baseModel }], skipDuplicates: true });
  const repository = await ctx.db.repository.findUniqueOrThrow({ where: { orgId_name: { orgId, name } } });
  return ctx.db.job.create({
    data: {
      orgId,
      datasetId,
      repositoryId: repository.id,
      name: input.name ?? name,
      status: "queued",
      config,
      idempotencyKey: input.idempotencyKey ?? null,
      inputHash,
    },
    include: jobParts,
  });
}

async function findByKey(ctx: OrgCtx, idempotencyKey: string | undefined): Promise<JobRow | null> {
  if (idempotencyKey === undefined) return null;
  return ctx.db.job.findUnique({
    where: { orgId_idempotencyKey: { orgId: ctx.orgId, idempotencyKey } },
    include: jobParts,
  });
}

async function sameJob(ctx: OrgCtx, row: JobRow, inputHash: string): Promise<Result<JobView, "idempotency_conflict">> {
  if (row.inputHash === inputHash) return view(ctx, row);
  return fail(
    "idempotency_conflict",
    `The idempotency key was used before, for the job "${row.name}" with another input. Use a new key for a new job.`,
    { field: "idempotencyKey" },
  );
}

async function view(ctx: OrgCtx, row: JobRow): Promise<Result<JobView, never>> {
  const [job] = await toJobViews(ctx, [row]);
  if (!job) throw new Error("A job row gave no view.");
  return ok(job);
}
