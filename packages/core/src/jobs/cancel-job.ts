import { fail, type Result } from "@grove/contracts/errors";
import type { JobView } from "@grove/contracts/jobs";
import type { OrgCtx } from "../context.ts";
import { findJob, getJob } from "./read.ts";
import { moveJob } from "./status.ts";

const TRIES = 3;

/** A waiting job is cancelled here; a running one is asked to stop, and its worker settles it within seconds. */
export async function cancelJob(
  ctx: OrgCtx,
  id: string,
): Promise<Result<JobView, "job_not_found" | "job_not_cancellable">> {
  for (let i = 0; i < TRIES; i++) {
    const found = await findJob(ctx, id);
    if (!found.ok) return found;
    const now = new Date();
    const waiting = await moveJob(ctx.db, id, {
      from: ["queued"],
      to: "cancelled",
      data: { cancelRequestedAt: now, finishedAt: now },
    });
    if (waiting || (await askToStop(ctx, id, now))) return getJob(ctx, id);
  }
  const left = await getJob(ctx, id);
  if (!left.ok || left.value.cancelRequested) return left;
  const why =
    left.value.status === "publishing"
      ? "has finished training and is being published"
      : `is already ${left.value.status}`;
  return fail("job_not_cancellable", `The job "${left.value.name}" ${why}, so it cannot be cancelled.`);
}

async function askToStop(ctx: OrgCtx, id: string, now: Date): Promise<boolean> {
  const { count } = await ctx.db.job.updateMany({
    where: { id, orgId: ctx.orgId, status: { in: ["preparing", "training"] }, cancelRequestedAt: null },
    data: { cancelRequestedAt: now },
  });
  return count === 1;
}
