import type { DatasetProfile } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { type JobConfig, jobConfig, hyperparameters as knobs } from "@grove/contracts/jobs";
import { z } from "zod";
import { rowsByColumns } from "./rows.ts";

const PATIENCE = 3;

/** Predibase's SFTConfig and ContinuedPretrainingConfig, as their SDK sends them (spec/serving-api.md §3.4). */
export const predibaseConfig = z.strictObject({
  base_model: z.string().min(1),
  adapter: z.literal("lora", "Only plain LoRA is trained here: write adapter: lora.").default("lora"),
  task: z
    .enum(["sft", "continued_pretraining"], "Grove trains the tasks sft and continued_pretraining.")
    .default("sft"),
  epochs: knobs.shape.epochs.unwrap().default(3),
  train_steps: z.int().min(1).optional(), // wins over epochs
  learning_rate: knobs.shape.learningRate.unwrap().default(2e-4),
  rank: knobs.shape.rank.unwrap().default(16),
  lora_alpha: z.number().positive().optional(),
  lora_dropout: z.number().min(0).max(0.9).default(0),
  target_modules: knobs.shape.targetModules.unwrap().optional(),
  warmup_ratio: z.number().min(0).max(0.5).default(0.03),
  effective_batch_size: knobs.shape.batchSize.unwrap().default(16),
  enable_early_stopping: z.boolean().default(true),
  apply_chat_template: z.boolean().default(false),
});
export type PredibaseConfig = z.infer<typeof predibaseConfig>;

/** As a configuration of ours, with Predibase's defaults where it says nothing. */
export function fromPredibase(config: PredibaseConfig, profile: DatasetProfile): Result<JobConfig, "config_invalid"> {
  const rows = rowsByColumns(profile, config.task === "sft" ? ["messages", "completion"] : ["text"]);
  if (!rows.ok) return rows;
  const chat = config.apply_chat_template && rows.value.dataKind === "template";
  const parsed = jobConfig.safeParse({
    ...rows.value,
    ...(chat ? { promptFormat: "chat" } : {}),
    baseModel: config.base_model,
    hyperparameters: {
      epochs: config.train_steps === undefined ? config.epochs : 1000,
      maxSteps: config.train_steps ?? null,
      learningRate: config.learning_rate,
      rank: config.rank,
      alpha: config.lora_alpha ?? null,
      dropout: config.lora_dropout,
      ...(config.target_modules === undefined ? {} : { targetModules: config.target_modules }),
      warmupRatio: config.warmup_ratio,
      batchSize: config.effective_batch_size,
      earlyStoppingPatience: config.enable_early_stopping ? PATIENCE : null,
    },
  });
  if (parsed.success) return ok(parsed.data);
  const issue = parsed.error.issues[0];
  return fail("config_invalid", `${issue?.path.join(".")}: ${issue?.message}`, { field: "config" });
}
