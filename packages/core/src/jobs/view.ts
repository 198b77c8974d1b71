import { type JobView, jobConfig, jobMetadata, jobStatuses } from "@grove/contracts/jobs";
import type { Prisma } from "@grove/db";
import { z } from "zod";
import type { Services } from "../context.ts";

export const jobParts = {
  dataset: { select: { id: true, name: true } },
  repository: { select: { name: true } },
  adapterVersion: { select: { id: true, version: true } },
} satisfies Prisma.JobInclude;
export type JobRow = Prisma.JobGetPayload<{ include: typeof jobParts }>;

const status = z.enum(jobStatuses);

/** The key of the one usage row a job can have. */
export function trainingKey(jobId: string): string {
  return `train-${jobId}`;
}

export async function toJobViews(services: Pick<Services, "db">, rows: JobRow[]): Promise<JobView[]> {
  const keys = rows.filter((row) => row.status === "succeeded").map((row) => trainingKey(row.id));
  const billed =
    keys.length === 0
      ? []
      : await services.db.usageEvent.findMany({
          where: { idempotencyKey: { in: keys } },
          select: { idempotencyKey: true, costMicroUsd: true },
        });
  const costs = new Map(billed.map((row) => [row.idempotencyKey, row.costMicroUsd]));
  return rows.map((row) => toJobView(row, costs.get(trainingKey(row.id)) ?? 0n));
}

function toJobView(row: JobRow, costMicroUsd: bigint): JobView {
  const { adapterVersion: published, repository } = row;
  const trained = row.trainTokens !== null && row.seconds !== null && row.trainLoss !== null;
  return {
    id: row.id,
    name: row.name,
    status: status.parse(row.status),
    dataset: row.dataset,
    repository: repository.name,
    adapterId: published === null ? null : `${repository.name}/${published.version}`,
    adapterVersionId: published?.id ?? null,
    config: jobConfig.parse(row.config),
    metadata: row.metadata === null ? {} : jobMetadata.parse(row.metadata),
    sweepId: row.sweepId,
    attempt: row.attempt,
    paused: row.paused,
    cancelRequested: row.cancelRequestedAt !== null,
    progress:
      row.totalSteps === 0 ? null : { step: row.step, totalSteps: row.totalSteps, secondsLeft: row.secondsLeft },
    result:
      trained && row.status === "succeeded"
        ? {
            trainTokens: Number(row.trainTokens),
            seconds: row.seconds ?? 0,
            trainLoss: row.trainLoss ?? 0,
            validationLoss: row.validationLoss,
            costMicroUsd,
          }
        : null,
    error: row.errorCode === null ? null : { code: row.errorCode, message: row.errorMessage ?? "" },
    createdAt: row.createdAt,
    startedAt: row.startedAt,
    finishedAt: row.finishedAt,
  };
}
