import { fail, ok, type Result } from "@grove/contracts/errors";
import type { JobView } from "@grove/contracts/jobs";
import type { OrgCtx } from "../context.ts";
import { getJob } from "./read.ts";

type PauseError = "job_not_found" | "job_not_pausable";

/** The trainer writes a checkpoint and stands still until `resumeJob`; the job keeps its place, and paused seconds are not counted. */
export async function pauseJob(ctx: OrgCtx, id: string): Promise<Result<JobView, PauseError>> {
  return setPaused(ctx, id, true);
}

export async function resumeJob(ctx: OrgCtx, id: string): Promise<Result<JobView, PauseError>> {
  return setPaused(ctx, id, false);
}

async function setPaused(ctx: OrgCtx, id: string, paused: boolean): Promise<Result<JobView, PauseError>> {
  const { count } = await ctx.db.job.updateMany({
    where: { id, orgId: ctx.orgId, status: { in: ["preparing", "training"] }, cancelRequestedAt: null },
    data: { paused },
  });
  const job = await getJob(ctx, id);
  if (!job.ok || count === 1) return job;
  if (job.value.paused === paused) return ok(job.value); // asked twice
  return fail(
    "job_not_pausable",
    `The job "${job.value.name}" is ${job.value.status}: only one that trains can be paused or resumed.`,
  );
}
