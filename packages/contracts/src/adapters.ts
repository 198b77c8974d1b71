import { z } from "zod";
import type { PromptFormat } from "./datasets.ts";
import type { Metric } from "./evals.ts";
import type { JobConfig } from "./jobs.ts";
import type { AdapterOrigin } from "./transfers.ts";

export const adapterFileNames = [
  "adapter_config.json",
  "adapter_model.safetensors",
  "README.md",
  "grove.json",
] as const;
export type AdapterFileName = (typeof adapterFileNames)[number];

export type AdapterVersionView = {
  id: string;
  adapterId: string; // "repository/version"
  repository: string;
  version: number;
  baseModel: string;
  sha256: string;
  bytes: number;
  config: JobConfig;
  jobId: string | null; // null: it came from elsewhere, as `origin` says
  origin: AdapterOrigin | null;
  datasetId: string | null;
  trainLoss: number | null;
  validationLoss: number | null;
  createdAt: Date;
  bestEval: { evalId: string; metric: string; adapterScore: number; baseScore: number } | null; // newest finished evaluation
};
export type RepositoryView = {
  id: string;
  name: string;
  baseModel: string;
  createdAt: Date;
  versions: AdapterVersionView[]; // newest first
};

/** An adapter as it stood at a step of a job that may still be running; it is asked for like a version. */
export type CheckpointView = {
  id: string;
  adapterId: string; // "repository/c0ffee12-step-120"
  jobId: string;
  step: number;
  sha256: string;
  bytes: number;
  baseModel: string;
  config: JobConfig;
  datasetId: string;
  score: { metric: Metric; value: number } | null; // over the job's `scoreRows` first validation rows
  createdAt: Date;
};

/** What serving asks for; `id` is `repository/version`. */
export const resolveAdapterQuery = z.object({ id: z.string().min(1).max(200), tenant: z.string().optional() });
export type ResolvedAdapter = {
  tenant: string;
  id: string;
  sha256: string;
  prompt_format: PromptFormat;
  bytes: number;
  base_model: string;
};
