import type { AdapterVersionView } from "@grove/contracts/adapters";
import type { Metric } from "@grove/contracts/evals";
import type { BaseFacts } from "./base-facts.ts";

export type CardScore = { metric: Metric; split: string; rows: number; dataset: string; adapter: number; base: number };
export type CardRun = {
  steps: number | null;
  tokens: number | null;
  rowsSha256: string | null;
  stoppedBy: string | null;
};
export type CardFacts = {
  version: AdapterVersionView;
  base: BaseFacts;
  dataset: { name: string; sha256: string | null } | null;
  run: CardRun;
  scores: CardScore[];
  original: string | null; // the card that an import came with
};
export type CardForm = "peft" | "merged";

const metricNames: Record<Metric, string> = { accuracy: "accuracy", exact_match: "exact match", rouge_l: "ROUGE-L" };

/** The model card as it is true now: evaluations that were made after the training are in it. */
export function renderCard(facts: CardFacts, form: CardForm): string {
  const parts = [
    frontMatter(facts, form),
    title(facts, form),
    task(facts),
    table(["", ""], [...aboutModel(facts), ...aboutTraining(facts)]),
    scores(facts),
    usage(facts, form),
    licence(facts),
    original(facts),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function frontMatter({ base, version }: CardFacts, form: CardForm): string {
  const { method, useRslora, useDora } = version.config.hyperparameters;
  const kinds = [...(useDora ? ["dora"] : []), ...(useRslora ? ["rslora"] : [])];
  const tags = ["lora", ...kinds, ...(method === "sft" ? [] : [method]), "grove"];
  return [
    "---",
    `base_model: ${JSON.stringify(base.hubId ?? base.id)}`,
    ...(form === "merged" ? ["base_model_relation: finetune"] : ["base_model_relation: adapter"]),
    ...(base.licence === null ? [] : [`license: ${JSON.stringify(base.licence)}`]),
    `library_name: ${form === "peft" ? "peft" : "transformers"}`,
    "pipeline_tag: text-generation",
    `tags: [${tags.join(", ")}]`,
    "---",
  ].join("\n");
}

function title({ version, base }: CardFacts, form: CardForm): string {
  const what =
    form === "peft"
      ? `A LoRA adapter for \`${base.hubId ?? base.id}\``
      : `\`${base.hubId ?? base.id}\` with a LoRA adapter merged into it`;
  const made = version.origin === null ? "trained by Grove" : "imported into Grove";
  return `# ${version.adapterId}\n\n${what}, ${made} on ${version.createdAt.toISOString().slice(0, 10)}.`;
}

/** What it was taught to do: the prompt it expects, and where the answer was. */
function task({ version }: CardFacts): string {
  const { promptTemplate, targetColumn, rejectedColumn, dataKind, promptFormat } = version.config;
  const sent =
    promptFormat === "raw" ? "The prompt is sent as written." : "The prompt is one user turn of the chat template.";
  if (version.origin !== null) return `## Task\n\nPrompts are written like this. ${sent}\n\n${fence(promptTemplate)}`;
  const learns: Record<typeof dataKind, string> = {
    template: `It answers prompts of this template with the column ${code(targetColumn)} of the data. ${sent}\n\n${fence(promptTemplate)}`,
    messages: `It learnt the assistant's turns of conversations (column ${code(targetColumn)}), in the base's chat template.`,
    text: `It went on learning plain text (column ${code(targetColumn)}).`,
    preference: `It learnt to prefer answers of the column ${code(targetColumn)} to those of ${code(rejectedColumn ?? "")}. ${sent}\n\n${fence(promptTemplate)}`,
  };
  return `## Task\n\n${learns[dataKind]}`;
}

type Row = [string, string | null];

function aboutModel({ version, base }: CardFacts): Row[] {
  const { rank, alpha, dropout, targetModules, useRslora, useDora } = version.config.hyperparameters;
  const kind = [useDora ? "DoRA" : null, useRslora ? "rsLoRA" : null].filter((name) => name !== null).join(", ");
  return [
    ["base model", code(base.hubId ?? base.id)],
    ["adapter SHA-256", code(version.sha256)],
    ["rank, alpha, dropout", `${rank}, ${alpha ?? 2 * rank}, ${dropout}${kind === "" ? "" : ` (${kind})`}`],
    ["modules", targetModules.join(", ")],
    ["came from", origin(version.origin)],
  ];
}

function aboutTraining({ version, dataset, run }: CardFacts): Row[] {
  if (version.origin !== null) return [];
  const h = version.config.hyperparameters;
  return [
    ["data set", dataset === null ? null : code(dataset.name)],
    ["SHA-256 of the file", dataset?.sha256 == null ? null : code(dataset.sha256)],
    ["SHA-256 of the rendered rows", run.rowsSha256 === null ? null : code(run.rowsSha256)],
    [
      "method",
      `${h.method.toUpperCase()}${h.quantization === "none" ? "" : `, base in ${h.quantization} while training`}`,
    ],
    ["learning rate, schedule", `${h.learningRate}, ${h.scheduler}, warm-up ${h.warmupRatio}`],
    ["optimizer", `${h.optimizer}, weight decay ${h.weightDecay}`],
    ["batch size, epochs, seed", `${h.batchSize}, ${h.epochs}, ${h.seed}`],
    [
      "steps",
      run.steps === null ? null : `${run.steps}${run.stoppedBy === null ? "" : ` (ended by ${run.stoppedBy})`}`,
    ],
    ["training tokens", run.tokens === null ? null : String(run.tokens)],
    ["training loss", version.trainLoss?.toFixed(4) ?? null],
    ["validation loss", version.validationLoss?.toFixed(4) ?? null],
  ];
}

function origin(from: AdapterVersionView["origin"]): string | null {
  if (from === null) return null;
  return from.kind === "hub" ? code(`${from.repo}@${from.commit}`) : "a folder that was uploaded";
}

function scores({ scores: made }: CardFacts): string {
  if (made.length === 0) return "";
  const rows = made.map((one) => [
    metricNames[one.metric],
    `${code(one.dataset)}, ${one.split}, ${one.rows} rows`,
    one.base.toFixed(3),
    one.adapter.toFixed(3),
  ]);
  return `## Evaluation\n\n${table(["metric", "on", "base", "fine-tuned"], rows)}`;
}

const USAGE = "## How to use it";

/** One of our own cards, come back from a hub, tells it already. */
function usage({ version, base, original: came }: CardFacts, form: CardForm): string {
  if (came?.includes(`\n${USAGE}\n`)) return "";
  const load =
    form === "peft"
      ? [
          "from peft import PeftModel",
          "from transformers import AutoModelForCausalLM, AutoTokenizer",
          "",
          `base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(base.hubId ?? base.id)})`,
          'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
          `tokenizer = AutoTokenizer.from_pretrained(${JSON.stringify(base.hubId ?? base.id)})`,
        ]
      : [
          "from transformers import AutoModelForCausalLM, AutoTokenizer",
          "",
          'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")',
          'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        ];
  const grove = [
    'curl "$GATEWAY/v1/chat/completions" -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\',
    `  -d '{"model": "${version.adapterId}", "messages": [{"role": "user", "content": "…"}]}'`,
  ];
  const python = `With ${form === "peft" ? "PEFT" : "transformers"}:\n\n${fence(load.join("\n"), "python")}`;
  return form === "peft"
    ? `${USAGE}\n\n${python}\n\nWith Grove:\n\n${fence(grove.join("\n"), "bash")}`
    : `${USAGE}\n\n${python}`;
}

function licence({ base, version }: CardFacts): string {
  const known = base.licence === null ? "of its base model" : `of its base model (${base.licence})`;
  const data = version.origin === null ? " and of the data that it was trained on" : "";
  return `## Licence\n\nIt stands under the licence ${known}${data}.`;
}

function original({ original: text }: CardFacts): string {
  if (text === null) return "";
  const body = text
    .replaceAll("\r\n", "\n")
    .replace(/^---\n[\s\S]*?\n---\n/, "")
    .trim();
  return body === "" ? "" : `## The card that it came with\n\n${body}`;
}

function table(head: string[], rows: (string | null)[][]): string {
  const line = (cells: (string | null)[]): string => `| ${cells.map((cell) => cell ?? "").join(" | ")} |`;
  const shown = rows.filter((cells) => !cells.includes(null));
  return [line(head), `|${head.map(() => "---|").join("")}`, ...shown.map(line)].join("\n");
}

/** Inside a table cell too: a name may hold anything that a person typed. */
function code(text: string): string {
  return `\`${text.replace(/[`|\r\n]+/g, " ").trim()}\``;
}

/** Longer than any run of backticks inside. */
function fence(text: string, language = ""): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const marks = "`".repeat(longest + 1);
  return `${marks}${language}\n${text}\n${marks}`;
}
