import { z } from "zod";
import type { RowConfig } from "./datasets.ts";

export const evalStatuses = ["queued", "running", "succeeded", "failed", "cancelled"] as const;
export type EvalStatus = (typeof evalStatuses)[number];
export const metrics = ["accuracy", "exact_match", "rouge_l"] as const;
export type Metric = (typeof metrics)[number];

export const createEvalInput = z.strictObject({
  adapterId: z.string().min(1), // "repository/version"
  datasetId: z.uuid().optional(), // absent: the data set the adapter was trained on
  split: z.enum(["validation", "test"]).default("test"),
  rows: z.int().min(1).max(10_000).default(100),
  metric: z.enum(metrics).optional(), // absent: accuracy if the target looks like labels, else ROUGE-L
  maxNewTokens: z.int().min(1).max(1024).optional(), // absent: longest reference answer plus a margin
  idempotencyKey: z.string().min(1).max(255).optional(),
});
export type CreateEvalInput = z.infer<typeof createEvalInput>;
export type CreateEvalRequest = z.input<typeof createEvalInput>;

/** Conversations and plain text have no column of right answers to compare with. */
export function hasRightAnswers({ dataKind }: Pick<RowConfig, "dataKind">): boolean {
  return dataKind !== "messages" && dataKind !== "text";
}

export const sideSummary = z.strictObject({
  score: z.number(), // of the chosen metric, free generation
  exactMatch: z.number(),
  rougeL: z.number(),
  forcedChoice: z.number().nullable(), // accuracy when only the labels may be answered; null for free text
  promptTokens: z.int(),
  completionTokens: z.int(),
  seconds: z.number(),
  failedRows: z.int(),
});
export type SideSummary = z.infer<typeof sideSummary>;
export const evalSummary = z.strictObject({
  metric: z.enum(metrics),
  rows: z.int(),
  labels: z.array(z.string()).nullable(),
  adapter: sideSummary,
  base: sideSummary,
  seconds: z.number(),
});
export type EvalSummary = z.infer<typeof evalSummary>;

export type EvalView = {
  id: string;
  status: EvalStatus;
  adapterId: string;
  baseModel: string;
  dataset: { id: string; name: string };
  split: string;
  metric: Metric;
  rows: number;
  done: number;
  summary: EvalSummary | null;
  costMicroUsd: bigint;
  error: { code: string; message: string } | null;
  createdAt: Date;
  finishedAt: Date | null;
};

export type EvalAnswer = { text: string; score: number; forcedChoice: string | null; error: string | null };
export type EvalRowView = { index: number; prompt: string; reference: string; adapter: EvalAnswer; base: EvalAnswer };
/** Worst adapter score first; among equals, where the base did better first. */
export const evalRowsInput = z.strictObject({
  evalId: z.uuid(),
  offset: z.int().min(0).default(0),
  limit: z.int().min(1).max(100).default(25),
  order: z.enum(["worst", "index"]).default("worst"),
});
export type EvalRowsInput = z.infer<typeof evalRowsInput>;
