import type { UsageSource } from "@grove/contracts/serving";
import type { UsageKind } from "@grove/contracts/usage";
import type { Prisma, PrismaClient } from "@grove/db";
import { priceInference, priceTraining } from "./prices.ts";

type Act = {
  orgId: string;
  idempotencyKey: string; // "train-<jobId>", "prompt-<requestId>"
  baseModel: string;
  adapterVersionId: string | null;
};
export type TrainingAct = Act & { kind: "training"; jobId: string; trainTokens: bigint; trainSeconds: number };
export type InferenceAct = Act & {
  kind: "inference";
  source: UsageSource;
  promptTokens: number;
  completionTokens: number;
  tokenId?: string | null;
  evalId?: string | null;
};

/**
 * One row per key, however often a handler repeats; the answer is the cost of the row that is kept. Pass the transaction
 * in which the act's own row changes.
 */
export async function recordUsage(
  tx: Prisma.TransactionClient | PrismaClient,
  act: TrainingAct | InferenceAct,
): Promise<bigint> {
  const row = toRow(act);
  const { count } = await tx.usageEvent.createMany({ data: [row], skipDuplicates: true });
  if (count === 1) return row.costMicroUsd;
  const kept = await tx.usageEvent.findUniqueOrThrow({
    where: { idempotencyKey: act.idempotencyKey },
    select: { costMicroUsd: true },
  });
  return kept.costMicroUsd;
}

function toRow(act: TrainingAct | InferenceAct) {
  const { orgId, idempotencyKey, baseModel, adapterVersionId } = act;
  const common = { orgId, idempotencyKey, baseModel, adapterVersionId, kind: act.kind satisfies UsageKind };
  if (act.kind === "training") {
    const { jobId, trainTokens, trainSeconds } = act;
    return {
      ...common,
      source: "training",
      jobId,
      trainTokens,
      trainSeconds,
      costMicroUsd: priceTraining(trainTokens),
    };
  }
  const { source, promptTokens, completionTokens, tokenId = null, evalId = null } = act;
  return {
    ...common,
    source,
    promptTokens,
    completionTokens,
    tokenId,
    evalId,
    costMicroUsd: priceInference(promptTokens, completionTokens),
  };
}
