import { fail, ok, type Result } from "@grove/contracts/errors";
import type { CreateJobInput, JobView } from "@grove/contracts/jobs";
import { finetuneRun } from "@grove/contracts/messages";
import { isUniqueViolation } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { checkJob, type JobProblem } from "./check-job.ts";
import { hashInput } from "./input-hash.ts";
import { checkMemory } from "./memory.ts";
import type { Tx } from "./status.ts";
import { type JobRow, jobParts, toJobViews } from "./view.ts";

/**
 * Writes the row, then sends the message; where the queue is down the worker's sweep sends it later. The same key with the
 * same input is the same job, however often and however concurrently it is asked for.
 */
export async function createJob(
  ctx: OrgCtx,
  input: CreateJobInput,
): Promise<Result<JobView, JobProblem | "job_too_large" | "idempotency_conflict">> {
  const { idempotencyKey: _key, ...what } = input;
  const inputHash = hashInput(what);
  const before = await findByKey(ctx, input.idempotencyKey);
  if (before) return sameJob(ctx, before, inputHash);
  const checked = await checkJob(ctx, input);
  if (!checked.ok) return checked;
  const fits = await checkMemory(ctx, { datasetId: input.datasetId, config: input.config });
  if (!fits.ok) return fits;
  try {
    const row = await insertJob(ctx.db, ctx.orgId, input, { inputHash, sweepId: null });
    await ctx.queues.send(finetuneRun, { jobId: row.id, attempt: row.attempt });
    return view(ctx, row);
  } catch (error) {
    const other = isUniqueViolation(error) ? await findByKey(ctx, input.idempotencyKey) : null;
    if (other) return sameJob(ctx, other, inputHash);
    throw error;
  }
}

/** The row alone: whoever calls it sends the message after its transaction. */
export async function insertJob(
  tx: Tx,
  orgId: string,
  input: CreateJobInput,
  made: { inputHash: string | null; sweepId: string | null },
): Promise<JobRow> {
  const { config, datasetId, repository: name } = input;
  await tx.repository.createMany({ data: [{ orgId, name, baseModel: config.baseModel }], skipDuplicates: true });
  const repository = await tx.repository.findUniqueOrThrow({ where: { orgId_name: { orgId, name } } });
  return tx.job.create({
    data: {
      orgId,
      datasetId,
      repositoryId: repository.id,
      name: input.name ?? name,
      status: "queued",
      config,
      ...(input.metadata === undefined ? {} : { metadata: input.metadata }),
      idempotencyKey: input.idempotencyKey ?? null,
      ...made,
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
