import type { JobStatus } from "@grove/contracts/jobs";
import type { Prisma, PrismaClient } from "@grove/db";

export type Tx = Prisma.TransactionClient | PrismaClient;
/** A worker is on these. */
export const activeStatuses: readonly JobStatus[] = ["preparing", "training", "publishing"];

const allowed: Record<JobStatus, readonly JobStatus[]> = {
  queued: ["preparing", "cancelled"],
  preparing: ["training", "publishing", "queued", "failed", "cancelled"],
  training: ["publishing", "queued", "failed", "cancelled"],
  publishing: ["succeeded", "queued", "failed"],
  succeeded: [],
  failed: [],
  cancelled: [],
};

type Move = {
  from: readonly JobStatus[];
  to: JobStatus;
  attempt?: number; // only while this attempt is the current one: a worker that was given up for lost changes nothing
  staleBefore?: Date; // only if nobody has given a sign of life since
  unlessCancelled?: true;
  data?: Omit<Prisma.JobUpdateManyMutationInput, "status">;
};

/** The one way a job's status changes. False: it was no longer what the caller thought, and nothing was changed. */
export async function moveJob(tx: Tx, jobId: string, move: Move): Promise<boolean> {
  const from = move.from.filter((status) => allowed[status].includes(move.to));
  if (from.length < move.from.length) throw new Error(`A job cannot go from ${move.from.join(", ")} to ${move.to}.`);
  const { count } = await tx.job.updateMany({
    where: {
      id: jobId,
      status: { in: from },
      ...(move.attempt === undefined ? {} : { attempt: move.attempt }),
      ...(move.unlessCancelled ? { cancelRequestedAt: null } : {}),
      ...(move.staleBefore === undefined
        ? {}
        : { OR: [{ heartbeatAt: null }, { heartbeatAt: { lt: move.staleBefore } }] }),
    },
    data: { ...move.data, status: move.to },
  });
  return count === 1;
}
