import { z } from "zod";
import { promptFormats } from "./datasets.ts";
import { loraModules, optimizers, schedulers } from "./jobs.ts";

export const dataKind = z.enum(["completion", "messages", "text", "preference"]);

/** See README.md §1: the file that `python -m trainer run --spec` reads. */
export const trainerSpec = z.strictObject({
  version: z.literal(1),
  job_id: z.string(),
  attempt: z.int().min(1),
  base_model: z.strictObject({ id: z.string(), path: z.string() }),
  train_file: z.string(),
  validation_file: z.string().nullable(),
  output_dir: z.string(),
  checkpoint_dir: z.string(),
  prompt_format: z.enum(promptFormats),
  adapter: z.strictObject({
    rank: z.int(),
    alpha: z.number(),
    dropout: z.number(),
    target_modules: z.array(z.enum(loraModules)),
    use_rslora: z.boolean().optional(),
    use_dora: z.boolean().optional(),
    init_adapter: z.string().nullable().optional(),
  }),
  training: z.strictObject({
    epochs: z.number(),
    max_steps: z.int().nullable(),
    max_seconds: z.int().nullable(),
    batch_size: z.int(),
    learning_rate: z.number(),
    scheduler: z.enum(schedulers),
    warmup_ratio: z.number(),
    weight_decay: z.number(),
    max_grad_norm: z.number(),
    max_length: z.int().nullable(),
    evaluate_every_steps: z.int(),
    checkpoint_every_steps: z.int(),
    early_stopping_patience: z.int().nullable(),
    seed: z.int(),
    optimizer: z.enum(optimizers).optional(),
    neftune_alpha: z.number().optional(),
    method: z.enum(["sft", "dpo", "orpo"]).optional(),
    beta: z.number().optional(),
  }),
  device: z.enum(["auto", "cpu", "cuda"]),
  data_kind: dataKind.nullable().optional(),
  quantization: z
    .strictObject({ bits: z.union([z.literal(4), z.literal(8)]) })
    .nullable()
    .optional(),
});
export type TrainerSpec = z.infer<typeof trainerSpec>;

export const trainerEvent = z.discriminatedUnion("event", [
  z.strictObject({
    event: z.literal("started"),
    total_steps: z.int(),
    train_rows: z.int(),
    validation_rows: z.int(),
    max_length: z.int(),
    rows_cut: z.int(),
    rows_dropped: z.int(),
    tokens_per_epoch: z.int(),
    trainable_parameters: z.int(),
    device: z.string(),
    resumed_from_step: z.int(),
    data_kind: dataKind.optional(),
    lengths: z.array(z.tuple([z.int(), z.int()])).optional(),
    labels: z.record(z.string(), z.int()).nullable().optional(),
  }),
  z.strictObject({
    event: z.literal("step"),
    step: z.int(),
    total_steps: z.int(),
    epoch: z.number(),
    loss: z.number(),
    learning_rate: z.number(),
    tokens: z.int(),
    tokens_per_second: z.number(),
    seconds: z.number(),
    seconds_left: z.number(),
    preferred: z.number().nullable().optional(),
  }),
  z.strictObject({
    event: z.literal("validation"),
    step: z.int(),
    loss: z.number(),
    preferred: z.number().nullable().optional(),
  }),
  z.strictObject({
    event: z.literal("checkpoint"),
    step: z.int(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    path: z.string().optional(),
  }),
  z.strictObject({ event: z.literal("paused"), step: z.int(), tokens: z.int(), seconds: z.number() }),
  z.strictObject({ event: z.literal("resumed"), step: z.int() }),
  z.strictObject({ event: z.literal("warning"), code: z.string(), message: z.string() }),
  z.strictObject({
    event: z.literal("finished"),
    steps: z.int(),
    epochs: z.number(),
    tokens: z.int(),
    seconds: z.number(),
    train_loss: z.number(),
    validation_loss: z.number().nullable(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    bytes: z.int(),
    stopped_by: z.enum(["epochs", "max_steps", "max_seconds", "early_stopping", "task_metric"]),
  }),
  z.strictObject({ event: z.literal("cancelled"), step: z.int(), tokens: z.int(), seconds: z.number() }),
  z.strictObject({
    event: z.literal("failed"),
    code: z.enum([
      "trainer_bad_spec",
      "trainer_bad_data",
      "trainer_out_of_memory",
      "trainer_diverged",
      "trainer_disk_full",
      "trainer_failed",
    ]),
    message: z.string(),
  }),
]);
export type TrainerEvent = z.infer<typeof trainerEvent>;

/** `python -m trainer quote`: what a job will take, before it runs. */
export const trainerQuote = z.strictObject({
  quote: z.strictObject({
    total_steps: z.int(),
    tokens: z.int(),
    tokens_per_epoch: z.int(),
    train_rows: z.int(),
    rows_cut: z.int(),
    rows_dropped: z.int(),
    max_length: z.int(),
    seconds: z.number(),
    memory_bytes: z.int(),
    memory_available_bytes: z.int().optional(),
  }),
});
export type TrainerQuote = z.infer<typeof trainerQuote>;

/** Several jobs over one base: the file, and the line that says whose event it is. */
export const trainerGroupSpec = z.strictObject({ version: z.literal(1), jobs: z.array(trainerSpec).min(1) });
export type TrainerGroupSpec = z.infer<typeof trainerGroupSpec>;
export const trainerGroupEvent = z.strictObject({ job_id: z.string(), event: trainerEvent });
export type TrainerGroupEvent = z.infer<typeof trainerGroupEvent>;
