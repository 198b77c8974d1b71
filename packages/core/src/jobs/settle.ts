import type { ErrorCode } from "@grove/contracts/errors";
import { finetuneRun } from "@grove/contracts/messages";
import type { Services } from "../context.ts";
import { appendEvents } from "./event-log.ts";
import { activeStatuses, moveJob } from "./status.ts";

type Attempt = { id: string; attempt: number };
type Cause = { code: ErrorCode; message: string };

const MOST_FAILED_ATTEMPTS = 3;
/** Codes after which a job is tried again; they stand as warnings in its events. The trainer's own warnings have others. */
const retriedCodes: ErrorCode[] = ["trainer_died", "trainer_failed", "internal"];

export async function endFailed(services: Services, job: Attempt, cause: Cause, staleBefore?: Date): Promise<void> {
  await moveJob(services.db, job.id, {
    from: activeStatuses,
    to: "failed",
    attempt: job.attempt,
    staleBefore,
    data: { finishedAt: new Date(), errorCode: cause.code, errorMessage: cause.message },
  });
}

export async function endCancelled(services: Services, job: Attempt): Promise<void> {
  await moveJob(services.db, job.id, {
    from: ["preparing", "training"],
    to: "cancelled",
    attempt: job.attempt,
    data: { finishedAt: new Date() },
  });
}

/** This worker goes away: the next one goes on from the last checkpoint. Counts for nothing. */
export async function handBack(services: Services, job: Attempt): Promise<void> {
  const moved = await moveJob(services.db, job.id, {
    from: activeStatuses,
    to: "queued",
    attempt: job.attempt,
    data: { attempt: job.attempt + 1, heartbeatAt: null },
  });
  if (moved) await services.queues.send(finetuneRun, { jobId: job.id, attempt: job.attempt + 1 });
}

/**
 * Back to the queue with a line in the job's events that says why; the next attempt goes on from the last checkpoint.
 * False: this was the third one to end so, and the job fails.
 */
export async function retryLater(services: Services, job: Attempt, cause: Cause, staleBefore?: Date): Promise<boolean> {
  const failedBefore = await services.db.jobEvent.count({
    where: {
      jobId: job.id,
      AND: [
        { event: { path: ["event"], equals: "warning" } },
        { OR: retriedCodes.map((code) => ({ event: { path: ["code"], equals: code } })) },
      ],
    },
  });
  if (failedBefore + 1 >= MOST_FAILED_ATTEMPTS) return false;
  const moved = await services.db.$transaction(async (tx) => {
    const back = await moveJob(tx, job.id, {
      from: activeStatuses,
      to: "queued",
      attempt: job.attempt,
      staleBefore,
      data: { attempt: job.attempt + 1, heartbeatAt: null },
    });
    if (back)
      await appendEvents(tx, job.id, job.attempt, [
        { event: "warning", code: cause.code, message: `${cause.message} Trying again from the last checkpoint.` },
      ]);
    return back;
  });
  if (moved) await services.queues.send(finetuneRun, { jobId: job.id, attempt: job.attempt + 1 });
  return true;
}
