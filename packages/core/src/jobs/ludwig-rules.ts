import type { LudwigDraft } from "./ludwig-draft.ts";
import { featureRule } from "./ludwig-features.ts";
import { ignore, integer, keys, number, only, type Rule, take } from "./ludwig-rule.ts";
import { trainerRule } from "./ludwig-trainer.ts";

export type { Rule } from "./ludwig-rule.ts";

/** Every key of Ludwig's `model_type: llm` schema (spec/field-guide.md §5c): taken over, allowed at its neutral value, or refused with a reason. */
export const ludwigRules: Rule = keys({
  model_type: take((value, draft) => {
    if (value !== "llm") return `model_type must be llm; Grove trains nothing else.`;
    draft.modelType = value;
  }),
  base_model: take((value, draft, path) => {
    if (typeof value !== "string" || value === "") return "base_model must be the name of a model.";
    draft.baseModel = value;
    draft.from("baseModel", path);
    if (value !== draft.surroundings.base)
      return `The base model "${value}" is not installed here. This installation has "${draft.surroundings.base}": write base_model: ${draft.surroundings.base}.`;
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
    retrieval: only([null, { type: null }], "a prompt holds the row's own columns and nothing retrieved. Take it out."),
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
  adapter: keys(
    {
      type: take((value, draft) => adapterType(value, draft)),
      r: take(integer("rank")),
      alpha: take((value, draft, path) => {
        if (value !== null && typeof value !== "number") return "adapter.alpha must be a number or null.";
        draft.set("alpha", value, path);
      }),
      dropout: take((value, draft, path) => {
        if (typeof value !== "number") return "adapter.dropout must be a number.";
        draft.set("dropout", value, path);
      }),
      target_modules: take((value, draft, path) => {
        if (value === null || value === "all-linear") return;
        if (!Array.isArray(value)) return "adapter.target_modules must be a list, like [q_proj, v_proj].";
        draft.set("targetModules", [...new Set(value)], path);
      }),
      bias_type: only(["none"], "biases of the base stay as they are."),
      use_rslora: take((value, draft, path) => {
        if (typeof value !== "boolean") return "adapter.use_rslora must be true or false.";
        draft.set("useRslora", value, path);
      }),
      use_dora: only([false], "only plain LoRA is trained and served."),
      loraplus_lr_ratio: only([null], "A and B learn at one rate."),
      init_lora_weights: only(["default", true, null], "weights start as in PEFT."),
      pretrained_adapter_weights: only([null], "a job starts from a fresh adapter."),
      eva_config: only([null], "only plain LoRA is trained."),
      loftq_config: only([null], "the base is not quantized."),
      rank_pattern: only([null, {}], "all modules have one rank."),
      alpha_pattern: only([null, {}], "all modules have one alpha."),
      layer_replication: only([null], "the base stays as it is."),
      postprocessor: keys({
        merge_adapter_into_base_model: only(
          [false],
          "adapters are served beside one shared base and never merged into it.",
        ),
        progressbar: ignore,
      }),
    },
    { kind: "take", take: (value, draft) => adapterType(value, draft) },
  ),
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
    rope_scaling: only([null], "the base stays as it is."),
    neftune_noise_alpha: take(number("neftuneAlpha")),
  }),
  backend: take((value, draft) => {
    if (value !== null) draft.note("backend is left out: the worker decides where a job runs.");
  }),
  trust_remote_code: only([false, null], "no code of a model is ever run."),
  is_multimodal: only([false, null], "only text is trained."),
  ludwig_version: ignore,
});

const otherAdapters = [
  "adalora",
  "ia3",
  "vera",
  "loha",
  "lokr",
  "fourierft",
  "boft",
  "oft",
  "c3a",
  "tinylora",
  "hra",
  "waveft",
  "ln_tuning",
  "vblora",
];

function adapterType(value: unknown, draft: LudwigDraft): string | undefined {
  draft.adapterSeen = true;
  if (value === "lora") return;
  if (value === null)
    return "Without an adapter Ludwig trains the whole base; Grove trains LoRA adapters alone. Write adapter: {type: lora}.";
  if (typeof value === "string" && otherAdapters.includes(value))
    return `The adapter type ${value} is not supported here: only lora is trained and served.`;
  return `adapter.type must be lora, not ${JSON.stringify(value)}.`;
}

function globalMaxLength(value: unknown, draft: LudwigDraft, path: string[]): string | undefined {
  if (value === null) return;
  if (typeof value !== "number" || !Number.isInteger(value)) return `${path.join(".")} must be a whole number.`;
  draft.globalMaxLength = value;
  draft.from("maxLength", path);
}
