import { z } from "zod";

/** What travels through BullMQ. Ids only: the handler reads the row again and returns if its status has moved on. */
export type Contract<P extends z.ZodType> = {
  queue: string;
  version: number;
  attempts: number;
  backoffMs: number;
  payload: P;
  key: (payload: z.infer<P>) => string; // no ":" in it
};

function defineContract<P extends z.ZodType>(contract: Contract<P>): Contract<P> {
  return contract;
}

export const datasetIngest = defineContract({
  queue: "dataset-ingest",
  version: 1,
  attempts: 3,
  backoffMs: 2_000,
  payload: z.strictObject({ datasetId: z.uuid() }),
  key: (p) => p.datasetId,
});

export const finetuneRun = defineContract({
  queue: "finetune-run",
  version: 1,
  attempts: 3,
  backoffMs: 5_000,
  payload: z.strictObject({ jobId: z.uuid(), attempt: z.int().min(1) }),
  key: (p) => `${p.jobId}-${p.attempt}`,
});

export const jobQuote = defineContract({
  queue: "job-quote",
  version: 1,
  attempts: 1,
  backoffMs: 1_000,
  payload: z.strictObject({ quoteId: z.uuid() }),
  key: (p) => p.quoteId,
});

export const checkpointScore = defineContract({
  queue: "checkpoint-score",
  version: 1,
  attempts: 3,
  backoffMs: 5_000,
  payload: z.strictObject({ checkpointId: z.uuid() }),
  key: (p) => p.checkpointId,
});

export const evalRun = defineContract({
  queue: "eval-run",
  version: 1,
  attempts: 3,
  backoffMs: 5_000,
  payload: z.strictObject({ evalId: z.uuid() }),
  key: (p) => p.evalId,
});

export const adapterExport = defineContract({
  queue: "adapter-export",
  version: 1,
  attempts: 3,
  backoffMs: 5_000,
  payload: z.strictObject({ exportId: z.uuid() }),
  key: (p) => p.exportId,
});

export const adapterTransfer = defineContract({
  queue: "adapter-transfer",
  version: 1,
  attempts: 3,
  backoffMs: 5_000,
  payload: z.strictObject({ transferId: z.uuid() }),
  key: (p) => p.transferId,
});

export const contracts = {
  datasetIngest,
  finetuneRun,
  jobQuote,
  checkpointScore,
  evalRun,
  adapterExport,
  adapterTransfer,
} as const;
