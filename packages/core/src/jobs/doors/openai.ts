import type { DatasetProfile } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { type CreateJobInput, createJobInput, jobMetadata, hyperparameters as knobs } from "@grove/contracts/jobs";
import { toSlug } from "@grove/contracts/names";
import { z } from "zod";
import { type BaseSettings, installedBase } from "../base-alias.ts";
import { rowsByColumns } from "./rows.ts";
import { knobsOf, type Start } from "./start.ts";

const auto = <T extends z.ZodType>(schema: T) => z.union([z.literal("auto"), schema]).default("auto");
const openAiKnobs = z.strictObject({
  n_epochs: auto(z.number().positive().max(1000)),
  batch_size: auto(z.int().min(1).max(512)),
  learning_rate_multiplier: auto(z.number().positive().max(1000)),
  beta: auto(z.number().positive().max(100)),
});
const method = z.discriminatedUnion(
  "type",
  [
    z.strictObject({
      type: z.literal("supervised"),
      supervised: z.strictObject({ hyperparameters: openAiKnobs.optional() }).optional(),
    }),
    z.strictObject({
      type: z.literal("dpo"),
      dpo: z.strictObject({ hyperparameters: openAiKnobs.optional() }).optional(),
    }),
  ],
  "Grove trains the methods supervised and dpo.",
);

/** The body of `fine_tuning.jobs.create` (spec/serving-api.md §4.3); `rank` and `target_modules` come by `extra_body`. */
export const openAiJobInput = z.strictObject({
  model: z.string().min(1),
  training_file: z.string().min(1),
  validation_file: z
    .null("Put a column `split` into the training file: rows of validation stand beside the others.")
    .optional(),
  suffix: z.string().min(1).max(64).nullable().optional(),
  seed: knobs.shape.seed.unwrap().nullable().optional(),
  hyperparameters: openAiKnobs.optional(),
  method: method.optional(),
  metadata: jobMetadata.nullable().optional(),
  integrations: z.array(z.never("No integration is supported here.")).nullable().optional(),
  rank: knobs.shape.rank.unwrap().optional(),
  target_modules: knobs.shape.targetModules.unwrap().optional(),
});
export type OpenAiJobInput = z.infer<typeof openAiJobInput>;

type Data = { id: string; name: string; profile: DatasetProfile };

/**
 * As a job of ours. `auto` and what is absent are Grove's defaults; the multiplier is one of the default rate. A model that is
 * an adapter is gone on from, `start`.
 */
export function fromOpenAi(
  input: OpenAiJobInput,
  data: Data,
  { settings, start }: { settings: BaseSettings; start: Start | null },
): Result<CreateJobInput, "config_invalid"> {
  const isDpo = input.method?.type === "dpo";
  const rows = rowsByColumns(data.profile, isDpo ? ["preference"] : ["messages", "completion"]);
  if (!rows.ok) return rows;
  const nested = input.method?.type === "dpo" ? input.method.dpo : input.method?.supervised;
  const asked = nested?.hyperparameters ?? input.hyperparameters ?? openAiKnobs.parse({});
  const defaults = knobs.parse({});
  const given = {
    epochs: asked.n_epochs,
    batchSize: asked.batch_size,
    learningRate:
      asked.learning_rate_multiplier === "auto" ? "auto" : defaults.learningRate * asked.learning_rate_multiplier,
    beta: asked.beta,
    seed: input.seed ?? "auto",
    rank: input.rank ?? "auto",
    targetModules: input.target_modules ?? "auto",
    method: isDpo ? "dpo" : "sft",
  };
  const parsed = createJobInput.safeParse({
    datasetId: data.id,
    repository: toSlug(input.suffix ?? data.name),
    ...(input.metadata ? { metadata: input.metadata } : {}),
    config: {
      baseModel: start?.config.baseModel ?? installedBase(settings, input.model),
      ...rows.value,
      hyperparameters: {
        ...knobsOf(start),
        ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== "auto")),
      },
    },
  });
  if (parsed.success) return ok(parsed.data);
  const issue = parsed.error.issues[0];
  return fail("config_invalid", `${String(issue?.path.at(-1))}: ${issue?.message}`, { field: "hyperparameters" });
}
