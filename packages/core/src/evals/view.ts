import { type EvalRowView, type EvalView, evalStatuses, evalSummary, metrics } from "@grove/contracts/evals";
import { jobConfig } from "@grove/contracts/jobs";
import type { EvalRow, Prisma } from "@grove/db";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";

export const evalInclude = {
  adapterVersion: { select: { version: true, config: true, repository: { select: { name: true } } } },
  dataset: { select: { id: true, name: true } },
  _count: { select: { results: true } },
} satisfies Prisma.EvalInclude;
export type EvalWithParts = Prisma.EvalGetPayload<{ include: typeof evalInclude }>;

const status = z.enum(evalStatuses);
const metric = z.enum(metrics);

/** What each evaluation has cost so far, by its id. */
export async function costsOf(ctx: OrgCtx, evalIds: string[]): Promise<Map<string, bigint>> {
  const sums = await ctx.db.usageEvent.groupBy({
    by: ["evalId"],
    where: { orgId: ctx.orgId, evalId: { in: evalIds } },
    _sum: { costMicroUsd: true },
  });
  return new Map(sums.map((one) => [one.evalId ?? "", one._sum.costMicroUsd ?? 0n]));
}

export function toEvalView(row: EvalWithParts, costMicroUsd: bigint): EvalView {
  return {
    id: row.id,
    status: status.parse(row.status),
    adapterId: `${row.adapterVersion.repository.name}/${row.adapterVersion.version}`,
    baseModel: jobConfig.parse(row.adapterVersion.config).baseModel,
    dataset: row.dataset,
    split: row.split,
    metric: metric.parse(row.metric),
    rows: row.rows,
    done: row._count.results,
    summary: row.summary === null ? null : evalSummary.parse(row.summary),
    costMicroUsd,
    error: row.errorCode === null ? null : { code: row.errorCode, message: row.errorMessage ?? "" },
    createdAt: row.createdAt,
    finishedAt: row.finishedAt,
  };
}

export function toEvalRowView(row: EvalRow): EvalRowView {
  return {
    index: row.index,
    prompt: row.prompt,
    reference: row.reference,
    adapter: {
      text: row.adapterText,
      score: row.adapterScore,
      forcedChoice: row.adapterForced,
      error: row.adapterError,
    },
    base: { text: row.baseText, score: row.baseScore, forcedChoice: row.baseForced, error: row.baseError },
  };
}
