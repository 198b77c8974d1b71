import { z } from "zod";

export const usageKinds = ["training", "inference"] as const;
export type UsageKind = (typeof usageKinds)[number];

export const usageInput = z.strictObject({ days: z.int().min(1).max(366).default(30) });
export type UsageInput = z.infer<typeof usageInput>;

/** One row per day, kind and adapter (null adapter: the base itself). */
export type UsageRow = {
  day: string; // "2026-11-22", UTC
  kind: UsageKind;
  source: string; // training, api, playground, evaluation
  adapterId: string | null;
  requests: number;
  promptTokens: number;
  completionTokens: number;
  trainTokens: number;
  trainSeconds: number;
  costMicroUsd: bigint;
};
export type UsageReport = { rows: UsageRow[]; totalMicroUsd: bigint; prices: PriceList };
/** Micro-dollars per million tokens. */
export type PriceList = { trainPerMillion: bigint; promptPerMillion: bigint; completionPerMillion: bigint };
