import { z } from "zod";
import { rowConfig } from "./datasets.ts";
import { adapterId, displayName, slug } from "./names.ts";

export const jobStatuses = [
  "queued",
  "preparing",
  "training",
  "publishing",
  "succeeded",
  "failed",
  "cancelled",
] as const;
export type JobStatus = (typeof jobStatuses)[number];
export const finishedJobStatuses: readonly JobStatus[] = ["succeeded", "failed", "cancelled"];

export const loraModules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;
export const schedulers = ["cosine", "linear", "constant"] as const;
export const optimizers = ["adamw", "adamw_8bit", "adam", "sgd", "lion"] as const;
/** DPO and ORPO learn from preferences, SFT from everything else. */
export const methods = ["sft", "dpo", "orpo"] as const;
export const quantizations = ["none", "nf4", "int8"] as const;
/** Checkpoints without a better score after which a job stops; the best one must still be among the 20 that are kept. */
export const MOST_SCORE_PATIENCE = 10;

/** Defaults are those that spec/ml.md and apps/trainer measured to work on a small base. */
export const hyperparameters = z.strictObject({
  rank: z.int().min(1).max(64).default(8),
  alpha: z.number().positive().max(1024).nullable().default(null), // null: twice the rank
  dropout: z.number().min(0).max(0.9).default(0),
  useRslora: z.boolean().default(false), // scale by alpha / sqrt(rank) instead of alpha / rank
  useDora: z.boolean().default(false), // for download and merging: the engine does not serve a magnitude for each output
  continueFrom: adapterId.nullable().default(null), // the adapter to start from; null: a fresh one
  targetModules: z
    .array(z.enum(loraModules))
    .min(1)
    .default([...loraModules]),
  epochs: z.number().positive().max(1000).default(3),
  maxSteps: z.int().min(1).max(1_000_000).nullable().default(null),
  maxSeconds: z
    .int()
    .min(1)
    .max(7 * 86_400)
    .nullable()
    .default(null),
  batchSize: z.int().min(1).max(512).default(16),
  learningRate: z.number().positive().max(1).default(5e-4),
  scheduler: z.enum(schedulers).default("cosine"),
  warmupRatio: z.number().min(0).max(0.5).default(0.03),
  optimizer: z.enum(optimizers).default("adamw"),
  method: z.enum(methods).default("sft"),
  beta: z.number().positive().max(100).default(0.1), // of DPO and ORPO: how far the adapter may go from the base
  quantization: z.enum(quantizations).default("none"), // how the frozen base is kept while it trains
  neftuneAlpha: z.number().min(0).max(100).default(0), // noise on the embeddings; 0: none
  weightDecay: z.number().min(0).max(1).default(0),
  maxGradNorm: z.number().positive().max(1000).default(1),
  maxLength: z.int().min(8).max(131_072).nullable().default(null), // null: p95 of the rendered examples
  earlyStoppingPatience: z.int().min(1).max(1000).nullable().default(null),
  evaluateEverySteps: z.int().min(0).max(1_000_000).default(0),
  checkpointEverySteps: z.int().min(0).max(1_000_000).default(0),
  scoreRows: z.int().min(0).max(200).default(0), // validation rows that each checkpoint answers; 0: none
  stopOnScore: z // stops by those answers, with the best checkpoint
    .strictObject({ patience: z.int().min(1).max(MOST_SCORE_PATIENCE) })
    .nullable()
    .default(null),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(42),
});
export type Hyperparameters = z.infer<typeof hyperparameters>;

/** Whether the engine answers with such an adapter; one that it does not is for download and merging. */
export function isServed({
  hyperparameters: { useDora },
}: {
  hyperparameters: Pick<Hyperparameters, "useDora">;
}): boolean {
  return !useDora;
}

/** What a run is made from; stored on the job row and on the adapter version it makes. */
export const jobConfig = rowConfig.extend({ baseModel: z.string().min(1), hyperparameters });
export type JobConfig = z.infer<typeof jobConfig>;

/** The caller's own words about a job, which come back with it: 16 at most. */
export const jobMetadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, "Give at most 16 pairs.");

export const createJobInput = z.strictObject({
  name: displayName.optional(), // absent: the repository's name
  datasetId: z.uuid(),
  repository: slug, // made if it does not exist; each finished job adds a version
  config: jobConfig,
  metadata: jobMetadata.optional(),
  idempotencyKey: z.string().min(1).max(255).optional(), // same key, same input: the same job again
});
export type CreateJobInput = z.infer<typeof createJobInput>;
/** The same before defaults are filled in: what a client sends. */
export type CreateJobRequest = z.input<typeof createJobInput>;

/** A Ludwig `model_type: llm` configuration, as text. */
export const parseLudwigInput = z.strictObject({ datasetId: z.uuid(), yaml: z.string().min(1).max(100_000) });
export type ParseLudwigInput = z.infer<typeof parseLudwigInput>;
export type LudwigProblem = { line: number; column: number; key: string; message: string };
export type ParsedLudwig = { ok: true; config: JobConfig; notes: string[] } | { ok: false; problems: LudwigProblem[] };

/** What a quote is of: a name, a repository and a key change nothing in it. */
export const quoteInput = z.strictObject({ datasetId: z.uuid(), config: jobConfig });
export type QuoteInput = z.infer<typeof quoteInput>;
export const quoteStatuses = ["waiting", "ready", "failed"] as const;
export type QuoteStatus = (typeof quoteStatuses)[number];

/** The trainer's own figures, from the very rows and a few steps that are thrown away. */
export type ExactQuote = {
  totalSteps: number;
  trainRows: number;
  rowsCut: number;
  rowsDropped: number;
  maxLength: number;
  seconds: number;
  memoryBytes: number;
  memoryAvailableBytes: number | null; // on the machine that was asked
};
/** Tokens and price are an estimate until `status` is ready, and then exact; a failed one says why in `message`. */
export type JobQuote = {
  trainTokens: number;
  priceMicroUsd: bigint;
  pricePerMillionTokensMicroUsd: bigint;
  status: QuoteStatus;
  exact: ExactQuote | null;
  message: string | null;
  refusal: Refusal | null; // why a job like this is not taken, though it can be quoted
};
export type Refusal = { code: string; message: string; field: string };

export type JobView = {
  id: string;
  name: string;
  status: JobStatus;
  dataset: { id: string; name: string };
  repository: string;
  adapterId: string | null; // "repository/version" once published
  adapterVersionId: string | null;
  config: JobConfig;
  metadata: Record<string, string>;
  sweepId: string | null;
  attempt: number;
  cancelRequested: boolean;
  paused: boolean; // asked to stand still
  progress: { step: number; totalSteps: number; secondsLeft: number | null } | null;
  result: {
    trainTokens: number;
    seconds: number;
    trainLoss: number;
    validationLoss: number | null;
    costMicroUsd: bigint;
  } | null;
  error: { code: string; message: string } | null;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
};

/** `seq` grows by one per job over all attempts; ask again with the last one seen. */
export type JobEventView = { seq: number; attempt: number; createdAt: Date; event: unknown };
export const jobEventsInput = z.strictObject({
  jobId: z.uuid(),
  afterSeq: z.int().min(0).default(0),
  limit: z.int().min(1).max(2000).default(1000),
});
export type JobEventsInput = z.infer<typeof jobEventsInput>;
