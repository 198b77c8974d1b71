import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { finishedJobStatuses } from "@grove/contracts/jobs";
import { datasetIngest, evalRun, finetuneRun } from "@grove/contracts/messages";
import type { Services } from "../context.ts";
import { endFailed, retryLater } from "./settle.ts";
import { activeStatuses, moveJob } from "./status.ts";

const WAITING_MS = 20_000; // a message that was sent has arrived by then
const MOST = 200;
const LOST = "The worker that ran this job was lost.";

/** A worker's regular round: takes jobs of lost workers back to the queue, and sends again what waits without a message. */
export async function sweep(services: Services, staleMs: number): Promise<void> {
  await takeBackLostJobs(services, new Date(Date.now() - staleMs));
  await sendAgain(services, new Date(Date.now() - WAITING_MS));
}

async function takeBackLostJobs(services: Services, staleBefore: Date): Promise<void> {
  const lost = await services.db.job.findMany({
    where: { status: { in: [...activeStatuses] }, OR: [{ heartbeatAt: null }, { heartbeatAt: { lt: staleBefore } }] },
    select: { id: true, attempt: true, cancelRequestedAt: true },
    take: MOST,
  });
  for (const job of lost) {
    if (job.cancelRequestedAt !== null) {
      const cancelled = await moveJob(services.db, job.id, {
        from: ["preparing", "training"],
        to: "cancelled",
        attempt: job.attempt,
        staleBefore,
        data: { finishedAt: new Date() },
      });
      if (cancelled) continue;
    }
    const cause = { code: "trainer_died", message: LOST } as const;
    if (!(await retryLater(services, job, cause, staleBefore)))
      await endFailed(
        services,
        job,
        {
          code: "trainer_died",
          message: `${LOST} It was the third attempt to end so: look at the worker's log before you start the job again.`,
        },
        staleBefore,
      );
  }
}

/** A message is lost when Redis was away or lost its memory; the rows are the truth. A key that still waits is not doubled. */
async function sendAgain(services: Services, before: Date): Promise<void> {
  const { db, queues } = services;
  const jobs = await db.job.findMany({
    where: { status: "queued", createdAt: { lt: before } },
    select: { id: true, attempt: true },
    orderBy: { id: "asc" },
    take: MOST,
  });
  for (const job of jobs) await queues.send(finetuneRun, { jobId: job.id, attempt: job.attempt });
  const datasets = await db.dataset.findMany({
    where: { status: "profiling", createdAt: { lt: before } },
    select: { id: true },
    orderBy: { id: "asc" },
    take: MOST,
  });
  for (const dataset of datasets) await queues.send(datasetIngest, { datasetId: dataset.id });
  const evals = await db.eval.findMany({
    where: { status: "queued", createdAt: { lt: before } },
    select: { id: true },
    orderBy: { id: "asc" },
    take: MOST,
  });
  for (const row of evals) await queues.send(evalRun, { evalId: row.id });
}

/** At start-up: scratch of jobs that ended while this machine was away. */
export async function removeOldWorkFolders(services: Services): Promise<void> {
  const { db, settings } = services;
  await removeFolders(join(settings.workFolder, "jobs"), (ids) =>
    db.job.findMany({ where: { id: { in: ids }, status: { notIn: [...finishedJobStatuses] } }, select: { id: true } }),
  );
  await removeFolders(join(settings.workFolder, "quotes"), (ids) =>
    db.quote.findMany({ where: { id: { in: ids }, status: "waiting" }, select: { id: true } }),
  );
}

async function removeFolders(root: string, findLive: (ids: string[]) => Promise<{ id: string }[]>): Promise<void> {
  const names = await readdir(root).catch(() => []);
  const ids = names.filter((name) => /^[0-9a-f-]{36}$/.test(name));
  const keep = new Set((await findLive(ids)).map((row) => row.id));
  for (const id of ids) if (!keep.has(id)) await rm(join(root, id), { recursive: true, force: true });
}
