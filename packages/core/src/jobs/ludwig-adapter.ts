import { adapterId } from "@grove/contracts/names";
import type { LudwigDraft } from "./ludwig-draft.ts";
import { flag, ignore, integer, keys, only, type Rule, take } from "./ludwig-rule.ts";

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
const ofAdaLora = only([], "it belongs to adalora, and only lora is trained. Take it out.");

export const adapterRule: Rule = keys(
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
    use_rslora: take(flag("useRslora")),
    use_dora: take((value, draft, path) => {
      if (value === true)
        draft.note(
          "use_dora: a DoRA adapter can be downloaded and merged, but the engine does not serve it from the shared base.",
        );
      return flag("useDora")(value, draft, path);
    }),
    pretrained_adapter_weights: take((value, draft, path) => {
      if (value === null) return;
      if (!adapterId.safeParse(value).success)
        return `${path.join(".")} must name an adapter of this organisation, as repository/version; ${JSON.stringify(value)} does not.`;
      draft.set("continueFrom", value, path);
    }),
    loraplus_lr_ratio: only([null], "A and B learn at one rate."),
    init_lora_weights: only(["default", true, null], "weights start as in PEFT."),
    eva_config: only([null], "weights start as in PEFT."),
    loftq_config: only([null], "weights start as in PEFT, beside a quantized base too."),
    rank_pattern: only([null, {}], "all modules have one rank."),
    alpha_pattern: only([null, {}], "all modules have one alpha."),
    layer_replication: only([null], "the base stays as it is."),
    target_r: ofAdaLora,
    init_r: ofAdaLora,
    tinit: ofAdaLora,
    tfinal: ofAdaLora,
    delta_t: ofAdaLora,
    beta1: ofAdaLora,
    beta2: ofAdaLora,
    orth_reg_weight: ofAdaLora,
    total_step: ofAdaLora,
    postprocessor: keys({
      merge_adapter_into_base_model: take((value, draft, path) => {
        if (typeof value !== "boolean") return `${path.join(".")} must be true or false.`;
        if (value)
          draft.note(
            "merge_adapter_into_base_model: the adapter is served beside its base; ask for the merged model as an export of the finished version.",
          );
      }),
      progressbar: ignore,
    }),
  },
  { kind: "take", take: (value, draft) => adapterType(value, draft) },
);

function adapterType(value: unknown, draft: LudwigDraft): string | undefined {
  draft.adapterSeen = true;
  if (value === "lora") return;
  if (value === null)
    return "Without an adapter Ludwig trains the whole base; Grove trains LoRA adapters alone. Write adapter: {type: lora}.";
  if (typeof value === "string" && otherAdapters.includes(value))
    return `The adapter type ${value} is not supported here: only lora is trained and served. Write type: lora.`;
  return `adapter.type must be lora, not ${JSON.stringify(value)}.`;
}
