import { adapterRule } from "./ludwig-adapter.ts";
import type { LudwigDraft } from "./ludwig-draft.ts";
import { featureRule } from "./ludwig-features.ts";
import { ignore, integer, keys, number, only, type Rule, take } from "./ludwig-rule.ts";
import { trainerRule } from "./ludwig-trainer.ts";

export type { Rule } from "./ludwig-rule.ts";

const noRetrieval = only([null, 0], "a prompt holds the row's own columns and nothing retrieved. Take it out.");
const noScaling = only([null], "the base stays as it is.");

/** Every key of Ludwig's `model_type: llm` schema (spec/field-guide.md §5c): taken over, allowed at its neutral value, or refused with a reason. */
export const ludwigRules: Rule = keys({
  model_type: take((value, draft) => {
    draft.modelType = String(value);
    if (value !== "llm") return `model_type must be llm; Grove trains nothing else.`;
  }),
  base_model: take((value, draft, path) => {
    if (typeof value !== "string" || value === "") return "base_model must be the name of a model.";
    const { base, aliases } = draft.surroundings;
    draft.baseModel = aliases.includes(value) ? base : value;
    draft.from("baseModel", path);
    if (draft.baseModel !== value)
      draft.note(
        `base_model ${value} is replaced by ${base}, as this installation is configured (GROVE_BASE_ALIASES).`,
      );
    if (draft.baseModel !== base)
      return `The base model "${value}" is not installed here. This installation has "${base}": write base_model: ${base}, or let GROVE_BASE_ALIASES of the installation name it.`;
  }),
  input_features: { kind: "items", item: featureRule("inputs") },
  output_features: { kind: "items", item: featureRule("outputs") },
  output_feature: featureRule("outputs"),
  prompt: keys({
    template: take((value, draft, path) => {
      if (value === null) return;
      if (typeof value !== "string" || value === "") return "prompt.template must be text.";
      if (value.includes("{__sample__}") || value.includes("{__context__}"))
        return "{__sample__} and {__context__} are not supported here: name the columns, as in {question}.";
      draft.template = value;
      draft.from("promptTemplate", path);
    }),
    task: take((value, draft) => {
      if (value !== null && typeof value !== "string") return "prompt.task must be text.";
      draft.task = value;
    }),
    retrieval: keys({ type: noRetrieval, index_name: noRetrieval, model_name: noRetrieval, k: noRetrieval }),
    global_max_sequence_length: take(globalMaxLength), // where the picture of the published template has it
  }),
  preprocessing: keys({
    split: keys({
      type: take((value, draft) => {
        if (value === "fixed" && draft.surroundings.splitBy !== "column")
          return "The data set has no split column, so its split is the seeded 80/10/10 made at upload. Add a column named split, or take this out.";
        if (value === "random" && draft.surroundings.splitBy === "column")
          draft.note("The data set's own split column decides the split, not preprocessing.split.");
        if (value !== "fixed" && value !== "random")
          return `preprocessing.split.type must be fixed or random; ${JSON.stringify(value)} is not supported here.`;
      }),
      column: only(["split"], "the split column is the one named split."),
      probabilities: only(
        [[0.8, 0.1, 0.1]],
        "a random split is 80/10/10, made once at upload. Add a column named split for another one.",
      ),
      stratify: only([null], "a random split goes by row."),
    }),
    global_max_sequence_length: take(globalMaxLength),
    sample_ratio: only([1, null], "every training row is used. Upload a smaller file instead."),
    sample_size: only([null], "every training row is used. Upload a smaller file instead."),
    oversample_minority: only([null], "rows are used as they are."),
    undersample_majority: only([null], "rows are used as they are."),
  }),
  adapter: adapterRule,
  trainer: trainerRule,
  quantization: keys({
    backend: only(["bitsandbytes"], "the base is quantized as bitsandbytes does it."),
    bits: take((value, draft, path) => {
      if (value !== 4 && value !== 8) return "quantization.bits must be 4 or 8.";
      draft.set("quantization", value === 4 ? "nf4" : "int8", path);
    }),
    mode: only([null], "the base is quantized once, before training."),
    qat: only([false], "the base is quantized once, before training."),
    bnb_4bit_quant_type: only(["nf4"], "four bits are NF4."),
    bnb_4bit_use_double_quant: only([true], "four bits are quantized twice."),
    bnb_4bit_compute_dtype: ignore, // the trainer computes in what the machine multiplies fastest
    llm_int8_threshold: ignore,
    llm_int8_has_fp16_weight: only([false], "eight-bit weights are kept in eight bits."),
  }),
  generation: take((value, draft) => {
    if (value === null) return;
    draft.note("generation is left out: how an adapter generates is said with each request.");
  }),
  random_seed: take(integer("seed")),
  defaults: only([null, {}], "write preprocessing at the features."),
  hyperopt: only([null], "a job trains one configuration."),
  adapters: only([null], "a job trains one adapter: write adapter."),
  model_parameters: keys({
    rope_scaling: keys({ rope_type: noScaling, factor: noScaling }),
    neftune_noise_alpha: take(number("neftuneAlpha")),
  }),
  backend: take((value, draft) => {
    if (value !== null) draft.note("backend is left out: the worker decides where a job runs.");
  }),
  trust_remote_code: only([false, null], "no code of a model is ever run."),
  is_multimodal: only([false, null], "only text is trained."),
  ludwig_version: ignore,
});

function globalMaxLength(value: unknown, draft: LudwigDraft, path: string[]): string | undefined {
  if (value === null) return;
  if (typeof value !== "number" || !Number.isInteger(value)) return `${path.join(".")} must be a whole number.`;
  draft.globalMaxLength = value;
  draft.from("maxLength", path);
}
