import type { AdapterVersionView } from "@grove/contracts/adapters";
import { evalSummary } from "@grove/contracts/evals";
import { jobConfig } from "@grove/contracts/jobs";
import { adapterOrigin } from "@grove/contracts/transfers";
import type { Prisma } from "@grove/db";

export const versionParts = {
  repository: { select: { name: true, baseModel: true } },
  job: { select: { datasetId: true } },
  transfers: { where: { kind: { not: "push" } }, take: 1, select: { id: true } }, // what an import came by
  evals: {
    where: { status: "succeeded" },
    orderBy: { id: "desc" },
    take: 1,
    select: { id: true, metric: true, summary: true },
  },
} satisfies Prisma.AdapterVersionInclude;
export type VersionRow = Prisma.AdapterVersionGetPayload<{ include: typeof versionParts }>;

export function toVersionView(row: VersionRow): AdapterVersionView {
  return {
    id: row.id,
    adapterId: `${row.repository.name}/${row.version}`,
    repository: row.repository.name,
    version: row.version,
    baseModel: row.repository.baseModel,
    sha256: row.sha256,
    bytes: Number(row.bytes),
    config: jobConfig.parse(row.config),
    jobId: row.jobId,
    origin: row.origin === null ? null : adapterOrigin.parse(row.origin),
    datasetId: row.job?.datasetId ?? null,
    trainLoss: row.trainLoss,
    validationLoss: row.validationLoss,
    createdAt: row.createdAt,
    bestEval: toBestEval(row.evals[0]),
  };
}

function toBestEval(row: VersionRow["evals"][number] | undefined): AdapterVersionView["bestEval"] {
  const summary = evalSummary.safeParse(row?.summary);
  if (!row || !summary.success) return null;
  return {
    evalId: row.id,
    metric: row.metric,
    adapterScore: summary.data.adapter.score,
    baseScore: summary.data.base.score,
  };
}
