import { optimizers } from "@grove/contracts/jobs";
import type { LudwigDraft } from "./ludwig-draft.ts";
import { ignore, integer, keys, number, only, type Rule, take } from "./ludwig-rule.ts";

const MOST_EPOCHS = 1000;
const otherTrainers = ["none", "kto", "grpo"];

const ofOtherTrainers = only([], "only the types finetune, dpo and orpo are trained. Take it out.");

export const trainerRule: Rule = keys({
  type: take((value, draft) => {
    draft.trainerSeen = true;
    if (value === "finetune") return;
    if (value === "dpo" || value === "orpo") {
      draft.set("method", value, ["trainer", "type"]);
      return;
    }
    if (otherTrainers.includes(String(value)))
      return `The trainer type ${String(value)} is not supported here: only finetune, dpo and orpo are.`;
    return `trainer.type must be finetune, dpo or orpo, not ${JSON.stringify(value)}.`;
  }),
  dpo_beta: take(number("beta")),
  dpo_loss_type: only(["sigmoid"], "the plain loss of DPO is used."),
  dpo_label_smoothing: only([0], "the plain loss of DPO is used."),
  orpo_beta: take(number("beta")),
  kto_beta: ofOtherTrainers,
  grpo_beta: ofOtherTrainers,
  grpo_epsilon: ofOtherTrainers,
  grpo_num_generations: ofOtherTrainers,
  rejected_column: take((value, draft, path) => {
    if (typeof value !== "string" || value === "") return "trainer.rejected_column must be the name of a column.";
    draft.rejectedColumn = value;
    draft.from("rejectedColumn", path);
  }),
  epochs: take((value, draft, path) => {
    if (typeof value !== "number") return "trainer.epochs must be a number.";
    if (draft.keyOf("maxSteps") === "trainer.train_steps") return; // train_steps overrules it, as in Ludwig
    draft.set("epochs", value, path);
  }),
  train_steps: take((value, draft, path) => {
    if (value === null) return;
    if (typeof value !== "number" || !Number.isInteger(value)) return "trainer.train_steps must be a whole number.";
    draft.set("maxSteps", value, path);
    draft.set("epochs", MOST_EPOCHS, path);
    draft.note(
      `train_steps: ${value} sets the length of the run, as in Ludwig; epochs is not looked at (at most ${MOST_EPOCHS} passes over the ${draft.surroundings.trainRows} training rows).`,
    );
  }),
  batch_size: take(
    batchSize((draft, rows) => {
      draft.batch.rows = rows;
    }),
  ),
  gradient_accumulation_steps: take(
    batchSize((draft, times) => {
      draft.batch.accumulated = times ?? 1;
    }),
  ),
  effective_batch_size: take(
    batchSize((draft, rows) => {
      draft.batch.whole = rows;
    }),
  ),
  max_batch_size: ignore,
  eval_batch_size: ignore, // how many rows are validated at once changes no figure
  learning_rate: take((value, draft, path) => {
    if (value !== "auto") return number("learningRate")(value, draft, path);
    draft.note("learning_rate: auto is Grove's default.");
    return undefined;
  }),
  base_learning_rate: only([0, null], "only the adapter is trained."),
  learning_rate_scaling: only(["constant", "linear", "sqrt"], "there is one training process."),
  learning_rate_scheduler: keys({
    decay: take((value, draft, path) => {
      if (value === null) draft.set("scheduler", "constant", path);
      else if (value === "cosine" || value === "linear") draft.set("scheduler", value, path);
      else return `The learning rate decay ${JSON.stringify(value)} is not supported here: use cosine, linear or null.`;
    }),
    warmup_fraction: take(number("warmupRatio")),
    warmup_evaluations: only([0], "write warmup_fraction."),
    decay_rate: ignore, // belong to decays that are refused
    decay_steps: ignore,
    staircase: only([false], "the rate falls smoothly."),
    reduce_on_plateau: only([0], "the rate follows its schedule."),
    reduce_on_plateau_patience: ignore,
    reduce_on_plateau_rate: ignore,
    reduce_eval_metric: ignore,
    reduce_eval_split: ignore,
    eta_min: only([0], "the rate falls to zero."),
    t_0: ignore,
    t_mult: only([1], "there are no restarts."),
  }),
  optimizer: keys(
    {
      type: take(optimizer),
      lr: take(number("learningRate")),
      weight_decay: take(number("weightDecay")),
      betas: only([[0.9, 0.999]], "Adam's betas are 0.9 and 0.999."),
      eps: only([1e-8], "Adam's epsilon is 1e-8."),
      amsgrad: only([false], "plain AdamW is used."),
      block_wise: only([true], "eight-bit moments are kept in blocks."),
      percentile_clipping: only(
        [100],
        "gradients are clipped by their global norm: write gradient_clipping.clipglobalnorm.",
      ),
      momentum: only([0], "plain SGD is used."),
      dampening: only([0], "plain SGD is used."),
      nesterov: only([false], "plain SGD is used."),
    },
    take(optimizer),
  ),
  gradient_clipping: keys({
    clipglobalnorm: take((value, draft, path) =>
      value === null ? undefined : number("maxGradNorm")(value, draft, path),
    ),
    clipnorm: only([null], "gradients are clipped by their global norm: write clipglobalnorm."),
    clipvalue: only([null], "gradients are clipped by their global norm: write clipglobalnorm."),
  }),
  eval_steps: take((value, draft, path) =>
    value === null ? undefined : integer("evaluateEverySteps")(value, draft, path),
  ),
  steps_per_checkpoint: take(integer("checkpointEverySteps")),
  checkpoints_per_epoch: only([0], "write steps_per_checkpoint."),
  early_stop: take((value, draft, path) => {
    if (typeof value !== "number" || !Number.isInteger(value))
      return "trainer.early_stop must be a whole number, or -1 for none.";
    draft.set("earlyStoppingPatience", value === -1 ? null : value, path);
  }),
  regularization_type: ignore,
  regularization_lambda: only([0], "write optimizer.weight_decay."),
  should_shuffle: only([true], "rows are shuffled each epoch, by the seed."),
  use_mixed_precision: ignore,
  compile: only([false], "the trainer has its own fast path."),
  enable_gradient_checkpointing: ignore, // the trainer decides by what fits
  layers_to_freeze_regex: only([null], "choose adapter.target_modules."),
  evaluate_training_set: only([false], "the training loss is shown live."),
  validation_field: ignore,
  validation_metric: only(["loss", "perplexity", null], "early stopping goes by the validation loss."),
  skip_all_evaluation: only([false], "validation is cheap: leave it on, or upload no validation rows."),
  enable_profiling: only([false], "the log has the times."),
  packing: ignore, // rows of a step stand end to end anyway, without seeing one another
  packing_max_sequences_per_pack: ignore,
  increase_batch_size_on_plateau: only([0], "the batch size stays."),
});

function batchSize(keep: (draft: LudwigDraft, rows: number | null) => void) {
  return (value: unknown, draft: LudwigDraft, path: string[]): string | undefined => {
    if (value !== null && value !== "auto" && (typeof value !== "number" || !Number.isInteger(value) || value < 1))
      return `${path.join(".")} must be a whole number or auto.`;
    keep(draft, typeof value === "number" ? value : null);
    draft.from("batchSize", path);
    if (value === "auto") draft.note(`${path.join(".")}: auto is Grove's default.`);
    return undefined;
  };
}

function optimizer(value: unknown, draft: LudwigDraft, path: string[]): string | undefined {
  const unpaged = typeof value === "string" ? value.replace(/^paged_/, "") : "";
  const known = optimizers.find((name) => name === unpaged) ?? optimizers.find((name) => `${name}_8bit` === unpaged);
  if (known === undefined)
    return `The optimizer ${JSON.stringify(value)} is not supported here: use ${optimizers.join(", ")}.`;
  if (known !== value)
    draft.note(
      `optimizer ${String(value)} is run as ${known}: an adapter's optimizer state is small enough to stay in memory.`,
    );
  draft.set("optimizer", known, path);
  return undefined;
}
