import { createReadStream } from "node:fs";
import { join } from "node:path";
import { type ErrorCode, errorTable, ok, type Result } from "@grove/contracts/errors";
import { type JobConfig, jobConfig } from "@grove/contracts/jobs";
import type { TrainerEvent } from "@grove/contracts/trainer";
import type { Prisma } from "@grove/db";
import { isDiskFull } from "@grove/storage/file-system";
import { storeCheckpoint } from "../adapters/checkpoints.ts";
import type { Services } from "../context.ts";
import { EventLog } from "./event-log.ts";
import { Heart, type StopReason } from "./heart.ts";
import { type Finished, finishedBefore, publish } from "./publish.ts";
import { logKey } from "./read.ts";
import { watchScores } from "./score-watch.ts";
import { endCancelled, endFailed, handBack, retryLater } from "./settle.ts";
import { fetchStart } from "./start-folder.ts";
import { moveJob } from "./status.ts";
import type { RunEnd } from "./trainer-process.ts";
import type { Seat, Trainers } from "./trainers.ts";
import { forgetTrainer, prepareWorkFolder, recordTrainer, removeWorkFolder, workFolder } from "./work-folder.ts";

type RunningJob = Prisma.JobGetPayload<{ include: { dataset: true; repository: true } }>;
type Outcome =
  | { kind: "published" }
  | { kind: StopReason }
  | { kind: "failed"; code: ErrorCode; message: string; retry: boolean };

const LOG_EVERY_MS = 10_000;

/**
 * The worker's half of a job: takes it, renders the rows, runs the trainer, stores what it says, publishes. Only one attempt
 * is ever the current one; a delivery of any other, or of a job that has moved on, returns at once.
 */
export async function runJob(
  services: Services,
  trainers: Trainers,
  message: { jobId: string; attempt: number },
  signal: AbortSignal,
): Promise<Result<null>> {
  const waiting = await services.db.job.findFirst({
    where: { id: message.jobId, attempt: message.attempt, status: "queued" },
    select: { config: true },
  });
  if (waiting === null) return ok(null);
  const { maxSeconds, quantization } = jobConfig.parse(waiting.config).hyperparameters;
  const isAlone = maxSeconds !== null || quantization !== "none"; // a quantized base is another one than the others share
  const seat = await trainers.enter(isAlone, signal);
  if (seat === null) return ok(null); // this worker is going away: the sweep of the next one sends the job again
  try {
    return await runSeated(services, seat, message, signal);
  } finally {
    seat.leave();
  }
}

async function runSeated(
  services: Services,
  seat: Seat,
  message: { jobId: string; attempt: number },
  signal: AbortSignal,
): Promise<Result<null>> {
  const { jobId, attempt } = message;
  const taken = await moveJob(services.db, jobId, {
    from: ["queued"],
    to: "preparing",
    attempt,
    data: { heartbeatAt: new Date(), errorCode: null, errorMessage: null },
  });
  if (!taken) return ok(null);
  await services.db.job.updateMany({ where: { id: jobId, startedAt: null }, data: { startedAt: new Date() } });
  const job = await services.db.job.findUniqueOrThrow({
    where: { id: jobId },
    include: { dataset: true, repository: true },
  });
  const heart = new Heart(services.db, message, signal);
  if (job.cancelRequestedAt !== null) heart.abort("cancelled");
  const outcome = await attemptJob(services, seat, job, heart).catch((error: unknown) => outcomeOfError(error, heart));
  await heart.stop();
  await settle(services, job, outcome);
  return ok(null);
}

async function attemptJob(services: Services, seat: Seat, job: RunningJob, heart: Heart): Promise<Outcome> {
  const config = jobConfig.parse(job.config);
  const folder = workFolder(services.settings, job.id);
  heart.check();
  const before = await finishedBefore(services, job.id, folder);
  if (before) return publishJob(services, job, before);
  const start = await fetchStart(services, { orgId: job.orgId, config }, folder);
  if (!start.ok) return { kind: "failed", code: start.code, message: start.message, retry: false };
  const preparation = { jobId: job.id, attempt: job.attempt, dataset: job.dataset, config, start: start.value };
  await prepareWorkFolder(services, preparation, folder, () => heart.check());
  heart.check();
  const training = await moveJob(services.db, job.id, { from: ["preparing"], to: "training", attempt: job.attempt });
  if (!training) return { kind: "lost" };
  const end = await train(services, seat, job, heart);
  seat.leave();
  if (end.last?.event === "finished" && end.badLine === null && heart.reason !== "cancelled")
    return publishJob(services, job, end.last);
  return heart.reason === null ? outcomeOfChild(end, config) : { kind: heart.reason };
}

async function train(services: Services, seat: Seat, job: RunningJob, heart: Heart): Promise<RunEnd> {
  const folder = workFolder(services.settings, job.id);
  const logFile = join(folder.path, `attempt-${job.attempt}.log`);
  const events = new EventLog(services.db, { jobId: job.id, attempt: job.attempt }, () => heart.abort("lost"));
  const keepLog = async (): Promise<void> => {
    await services.storage.put(logKey(job.id, job.attempt), createReadStream(logFile)).catch(() => undefined); // a log is not worth a job
  };
  let storing = Promise.resolve();
  const onEvent = (event: TrainerEvent): void => {
    events.add(event);
    if (event.event !== "checkpoint" || event.sha256 === undefined || event.path === undefined) return;
    const { step, sha256, path } = event;
    storing = storing.then(() => storeCheckpoint(services, job, { step, sha256, path })).catch(() => undefined); // it is not worth a job
  };
  const logTimer = setInterval(() => void keepLog(), LOG_EVERY_MS);
  try {
    return await seat.run({
      jobId: job.id,
      specFile: folder.specFile,
      logFile,
      signal: heart.signal,
      onStart: (trainer) => recordTrainer(folder, trainer),
      onPause: (hear) => heart.onPause(hear),
      onFinish: (hear) => watchScores(services.db, job, hear),
      onEvent,
    });
  } finally {
    clearInterval(logTimer);
    await forgetTrainer(folder);
    await storing;
    await events.flush();
    await keepLog();
  }
}

async function publishJob(services: Services, job: RunningJob, finished: Finished): Promise<Outcome> {
  const moved = await moveJob(services.db, job.id, {
    from: ["preparing", "training"],
    to: "publishing",
    attempt: job.attempt,
    unlessCancelled: true,
  });
  if (!moved) return { kind: (await isCancelled(services, job)) ? "cancelled" : "lost" };
  const published = await publish(services, { job, finished, folder: workFolder(services.settings, job.id) });
  if (!published.ok)
    return {
      kind: "failed",
      code: published.code,
      message: published.message,
      retry: errorTable[published.code].retry,
    };
  return { kind: published.value ? "published" : "lost" };
}

/** Asked for between the last beat and the end of training: the wish of the user counts. */
async function isCancelled(services: Services, job: RunningJob): Promise<boolean> {
  const row = await services.db.job.findFirst({
    where: { id: job.id, attempt: job.attempt },
    select: { cancelRequestedAt: true },
  });
  return row !== null && row.cancelRequestedAt !== null;
}

/** In plain words, with what to do next. */
function outcomeOfChild(end: RunEnd, config: JobConfig): Outcome {
  if (end.badLine !== null)
    return {
      kind: "failed",
      code: "trainer_failed",
      message: `The trainer wrote a line that is no event: ${JSON.stringify(end.badLine)}. This is a fault of the installation: see the job's log.`,
      retry: false,
    };
  if (end.last?.event === "failed")
    return { kind: "failed", code: end.last.code, message: end.last.message, retry: errorTable[end.last.code].retry };
  const { batchSize, maxLength } = config.hyperparameters;
  const memory = `If it happens again, the machine is short of memory: lower the batch size (now ${batchSize}) or the maximum length (now ${maxLength ?? "the 95th percentile of the rows"}).`;
  if (end.killedBy === "SIGKILL")
    return {
      kind: "failed",
      code: "trainer_died",
      message: `The trainer was killed from outside (SIGKILL), most often because memory ran out. ${memory}`,
      retry: true,
    };
  if (end.killedBy !== null)
    return {
      kind: "failed",
      code: "trainer_died",
      message: `The trainer was ended by the signal ${end.killedBy}. See the job's log.`,
      retry: true,
    };
  if (end.last?.event === "cancelled")
    return {
      kind: "failed",
      code: "trainer_died",
      message: "The trainer was told to stop by someone other than Grove (SIGTERM).",
      retry: true,
    };
  return {
    kind: "failed",
    code: "trainer_died",
    message: `The trainer ended without a result (exit status ${end.exitCode ?? "unknown"}). See the job's log.`,
    retry: true,
  };
}

function outcomeOfError(error: unknown, heart: Heart): Outcome {
  if (heart.reason !== null) return { kind: heart.reason };
  if (isDiskFull(error))
    return {
      kind: "failed",
      code: "trainer_disk_full",
      message: "The worker's disk is full. Free some space and start the job again.",
      retry: false,
    };
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failed", code: "internal", message: `The job could not be run: ${message}`, retry: true };
}

async function settle(services: Services, job: RunningJob, outcome: Outcome): Promise<void> {
  switch (outcome.kind) {
    case "lost":
      return; // the folder belongs to the attempt that took over
    case "stopped":
      return handBack(services, job);
    case "cancelled":
      await endCancelled(services, job);
      break;
    case "failed":
      if (outcome.retry && (await retryLater(services, job, outcome))) return;
      await endFailed(services, job, outcome);
      break;
    case "published":
      break;
  }
  await removeWorkFolder(workFolder(services.settings, job.id));
}
