import type { DatasetProfile } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { type JobConfig, jobConfig, hyperparameters as knobs, optimizers, schedulers } from "@grove/contracts/jobs";
import { z } from "zod";
import { type BaseSettings, installedBase } from "../base-alias.ts";
import { rowsByColumns } from "./rows.ts";
import { knobsOf, type Start } from "./start.ts";

const PATIENCE = 3;
const RANK = 16;
const ofGrpo = z.never("It belongs to GRPO, which is not trained here: take it out.").optional();

/** Predibase's SFTConfig and ContinuedPretrainingConfig, as their SDK sends them (spec/serving-api.md §3.4). */
export const predibaseConfig = z.strictObject({
  base_model: z.string().min(1).optional(), // what goes on from an adapter has its base
  adapter: z.literal("lora", "Only plain LoRA is trained here: write adapter: lora.").default("lora"),
  task: z
    .enum(["sft", "continued_pretraining"], "Grove trains the tasks sft and continued_pretraining.")
    .default("sft"),
  epochs: knobs.shape.epochs.unwrap().default(3),
  train_steps: z.int().min(1).optional(), // wins over epochs
  learning_rate: knobs.shape.learningRate.unwrap().default(2e-4),
  rank: knobs.shape.rank.unwrap().optional(), // 16, or that of the adapter to go on from
  lora_alpha: z.number().positive().optional(),
  lora_dropout: z.number().min(0).max(0.9).default(0),
  target_modules: knobs.shape.targetModules.unwrap().optional(),
  warmup_ratio: z.number().min(0).max(0.5).default(0.03),
  effective_batch_size: knobs.shape.batchSize.unwrap().default(16),
  enable_early_stopping: z.boolean().default(true),
  apply_chat_template: z.boolean().default(false),
  lr_scheduler: z
    .strictObject({ type: z.enum(schedulers, `Grove has the schedules ${schedulers.join(", ")}.`) })
    .optional(),
  optimizer: z
    .strictObject({ type: z.enum(optimizers, `Grove has the optimizers ${optimizers.join(", ")}.`) })
    .optional(),
  beta: ofGrpo,
  num_generations: ofGrpo,
  sampling_params: ofGrpo,
  rewardFns: ofGrpo,
  secrets: ofGrpo,
});
export type PredibaseConfig = z.infer<typeof predibaseConfig>;

/** As a configuration of ours, with Predibase's defaults where it says nothing; `start` is its `continue_from_version`. */
export function fromPredibase(
  config: PredibaseConfig,
  profile: DatasetProfile,
  { settings, start }: { settings: BaseSettings; start: Start | null },
): Result<JobConfig, "config_invalid"> {
  const base = config.base_model === undefined ? start?.config.baseModel : installedBase(settings, config.base_model);
  if (base === undefined)
    return fail("config_invalid", `base_model is missing: write "${settings.baseModel.id}".`, {
      field: "config.base_model",
    });
  const rows = rowsByColumns(profile, config.task === "sft" ? ["messages", "completion"] : ["text"]);
  if (!rows.ok) return rows;
  const chat = config.apply_chat_template && rows.value.dataKind === "template";
  const parsed = jobConfig.safeParse({
    ...rows.value,
    ...(chat ? { promptFormat: "chat" } : {}),
    baseModel: base,
    hyperparameters: {
      epochs: config.train_steps === undefined ? config.epochs : 1000,
      maxSteps: config.train_steps ?? null,
      learningRate: config.learning_rate,
      rank: RANK,
      ...knobsOf(start),
      ...(config.rank === undefined ? {} : { rank: config.rank }),
      ...(config.lora_alpha === undefined ? {} : { alpha: config.lora_alpha }),
      dropout: config.lora_dropout,
      ...(config.target_modules === undefined ? {} : { targetModules: config.target_modules }),
      warmupRatio: config.warmup_ratio,
      ...(config.lr_scheduler === undefined ? {} : { scheduler: config.lr_scheduler.type }),
      ...(config.optimizer === undefined ? {} : { optimizer: config.optimizer.type }),
      batchSize: config.effective_batch_size,
      earlyStoppingPatience: config.enable_early_stopping ? PATIENCE : null,
    },
  });
  if (parsed.success) return ok(parsed.data);
  const issue = parsed.error.issues[0];
  return fail("config_invalid", `${issue?.path.join(".")}: ${issue?.message}`, { field: "config" });
}
