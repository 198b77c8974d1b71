import {
  type CreateJobInput,
  createJobInput,
  type Hyperparameters,
  hyperparameters,
  type JobConfig,
} from "@grove/contracts/jobs";
import { emptyTemplate, type TemplateValues } from "../datasets/template-values";
import { readable } from "../shared/readable";

type Choice = "targetModules" | "scheduler" | "optimizer" | "useRslora" | "useDora" | "method" | "quantization";
export type NumberField = Exclude<keyof Hyperparameters, Choice | "continueFrom" | "stopOnScore">;
/** Numbers as they are typed; an empty text is null where null has a meaning. */
export type JobDraft = {
  datasetId: string;
  repository: string;
  baseModel: string;
  template: TemplateValues;
  numbers: Record<NumberField, string>;
  choices: Pick<Hyperparameters, Choice>;
  continueFrom: string; // empty: a fresh adapter
  scorePatience: string; // empty: the score stops nothing
};
export type DraftProblems = Record<string, string>; // by the path of the input: "config.hyperparameters.rank"
export type CheckedDraft = { ok: true; input: CreateJobInput } | { ok: false; problems: DraftProblems };

const nullable: readonly NumberField[] = ["alpha", "maxSteps", "maxSeconds", "maxLength", "earlyStoppingPatience"];
const defaults = hyperparameters.parse({});

function textOf(value: number | null): string {
  return value === null ? "" : String(value);
}

function numbersOf(h: Hyperparameters): Record<NumberField, string> {
  return {
    rank: textOf(h.rank),
    alpha: textOf(h.alpha),
    dropout: textOf(h.dropout),
    epochs: textOf(h.epochs),
    maxSteps: textOf(h.maxSteps),
    maxSeconds: textOf(h.maxSeconds),
    batchSize: textOf(h.batchSize),
    learningRate: textOf(h.learningRate),
    warmupRatio: textOf(h.warmupRatio),
    beta: textOf(h.beta),
    neftuneAlpha: textOf(h.neftuneAlpha),
    weightDecay: textOf(h.weightDecay),
    maxGradNorm: textOf(h.maxGradNorm),
    maxLength: textOf(h.maxLength),
    earlyStoppingPatience: textOf(h.earlyStoppingPatience),
    evaluateEverySteps: textOf(h.evaluateEverySteps),
    checkpointEverySteps: textOf(h.checkpointEverySteps),
    scoreRows: textOf(h.scoreRows),
    seed: textOf(h.seed),
  };
}

function choicesOf(h: Hyperparameters): JobDraft["choices"] {
  const { targetModules, scheduler, optimizer, useRslora, useDora, method, quantization } = h;
  return { targetModules, scheduler, optimizer, useRslora, useDora, method, quantization };
}

function draftOf(h: Hyperparameters): Pick<JobDraft, "numbers" | "choices" | "continueFrom" | "scorePatience"> {
  return {
    numbers: numbersOf(h),
    choices: choicesOf(h),
    continueFrom: h.continueFrom ?? "",
    scorePatience: textOf(h.stopOnScore?.patience ?? null),
  };
}

export function emptyDraft(datasetId: string, baseModel: string): JobDraft {
  return {
    datasetId,
    repository: "",
    baseModel,
    template: emptyTemplate,
    ...draftOf(defaults),
  };
}

/** The form filled from a configuration, be it Ludwig's or an earlier job's. */
export function withConfig(draft: JobDraft, config: JobConfig): JobDraft {
  const { baseModel, hyperparameters: h, ...template } = config;
  return {
    ...draft,
    baseModel,
    template,
    ...draftOf(h),
  };
}

/** What goes on from an adapter has its form. */
export function goOnFrom(draft: JobDraft, continueFrom: string, config: JobConfig | null): JobDraft {
  if (config === null) return { ...draft, continueFrom };
  const { rank, alpha, targetModules, useRslora, useDora } = config.hyperparameters;
  return {
    ...draft,
    continueFrom,
    numbers: { ...draft.numbers, rank: textOf(rank), alpha: textOf(alpha) },
    choices: { ...draft.choices, targetModules, useRslora, useDora },
  };
}

function numberOf(field: NumberField, text: string): number | null | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return nullable.includes(field) ? null : undefined;
  return Number(trimmed);
}

/** Preferences have methods of their own; a choice that does not go with the data gives way to the usual one. */
export function methodFor({ template, choices }: Pick<JobDraft, "template" | "choices">): Hyperparameters["method"] {
  if (template.dataKind !== "preference") return "sft";
  return choices.method === "sft" ? "dpo" : choices.method;
}

export function checkDraft(draft: JobDraft): CheckedDraft {
  const typed = Object.fromEntries(numberEntries(draft.numbers).map(([field, text]) => [field, numberOf(field, text)]));
  const parsed = createJobInput.safeParse({
    datasetId: draft.datasetId,
    repository: draft.repository,
    config: {
      baseModel: draft.baseModel,
      ...draft.template,
      hyperparameters: {
        ...typed,
        ...draft.choices,
        method: methodFor(draft),
        continueFrom: draft.continueFrom.trim() || null,
        stopOnScore: draft.scorePatience.trim() === "" ? null : { patience: Number(draft.scorePatience) },
      },
    },
  });
  if (parsed.success) return { ok: true, input: parsed.data };
  const problems: DraftProblems = {};
  for (const issue of parsed.error.issues) problems[issue.path.join(".")] ??= readable(issue.message);
  return { ok: false, problems };
}

function numberEntries(numbers: JobDraft["numbers"]): [NumberField, string][] {
  return [...mainFields, ...advancedFields].map((field) => [field.key, numbers[field.key]]);
}

export type NumberFieldSpec = { key: NumberField; label: string; hint: string; placeholder?: string };
export const mainFields: readonly NumberFieldSpec[] = [
  { key: "rank", label: "Rank", hint: "Size of the adapter: 8 is enough for most tasks." },
  { key: "epochs", label: "Epochs", hint: "Times through the training rows." },
  { key: "learningRate", label: "Learning rate", hint: "5e-4 suits a small base." },
  { key: "batchSize", label: "Batch size", hint: "Rows in one step." },
  { key: "maxSteps", label: "Most steps", hint: "Stops there. Empty: no limit.", placeholder: "no limit" },
  { key: "maxSeconds", label: "Time budget", hint: "Seconds; the schedule follows it.", placeholder: "no limit" },
];
export const advancedFields: readonly NumberFieldSpec[] = [
  { key: "alpha", label: "Alpha", hint: "Scale of the adapter.", placeholder: "twice the rank" },
  { key: "dropout", label: "Dropout", hint: "0 to 0.9." },
  { key: "maxLength", label: "Most tokens a row", hint: "Longer rows are cut.", placeholder: "95th percentile" },
  { key: "warmupRatio", label: "Warm-up", hint: "Share of the steps, 0 to 0.5." },
  { key: "weightDecay", label: "Weight decay", hint: "0 to 1." },
  { key: "neftuneAlpha", label: "NEFTune noise", hint: "On the embeddings; 5 is usual, 0 is none." },
  { key: "beta", label: "Beta", hint: "Of DPO and ORPO; lower goes further from the base." },
  { key: "maxGradNorm", label: "Gradient clip", hint: "Largest norm of the gradient." },
  { key: "earlyStoppingPatience", label: "Early stopping", hint: "Checks without progress.", placeholder: "off" },
  { key: "evaluateEverySteps", label: "Validate every", hint: "Steps; 0: about eight times." },
  { key: "checkpointEverySteps", label: "Checkpoint every", hint: "Steps; 0: about eight times." },
  { key: "scoreRows", label: "Answers checked", hint: "Validation rows that each checkpoint answers." },
  { key: "seed", label: "Seed", hint: "Same seed, same run." },
];
