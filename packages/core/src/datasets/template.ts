import { datasetProfile, type PreviewTemplateInput, type Split, type TemplatePreview } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Dataset } from "@grove/db";
import type { OrgCtx, Services } from "../context.ts";
import { measureTraining } from "./measure.ts";
import { findDataset } from "./read.ts";
import { readRows } from "./rows.ts";
import { closest } from "./text.ts";

type Part = { text: string } | { column: string };
export type TemplateProblem = "config_invalid" | "template_column_missing" | "target_column_missing";
export type Rendered = { index: number; prompt: string; completion: string };
export type RenderConfig = { promptTemplate: string; targetColumn: string };

const EXAMPLES = 3;

/** `{column}` with `{{` and `}}` for braces. The renderer of the preview, the training file, the playground and the evaluation. */
export function renderTemplate(template: string, values: Record<string, string>): string {
  const parts = parseTemplate(template);
  if (!parts.ok) throw new Error(parts.message);
  return renderParts(parts.value, values);
}

/** The columns that a template names, each once, in order. */
export function templateColumns(template: string): string[] {
  const parts = parseTemplate(template);
  if (!parts.ok) return [];
  return [...new Set(parts.value.flatMap((part) => ("column" in part ? [part.column] : [])))];
}

/** Everything that can be wrong with a template and a target before any row is read. */
export function checkTemplate(config: RenderConfig, columns: string[]): Result<null, TemplateProblem> {
  const field = "promptTemplate";
  const parts = parseTemplate(config.promptTemplate);
  if (!parts.ok) return parts;
  const named = templateColumns(config.promptTemplate);
  const missing = named.find((name) => !columns.includes(name));
  if (missing !== undefined)
    return fail(
      "template_column_missing",
      `The template names the column "${missing}", which the data set does not have. ${known(missing, columns)} Literal braces are written {{ and }}.`,
      { field },
    );
  if (!columns.includes(config.targetColumn))
    return fail(
      "target_column_missing",
      `The data set has no column "${config.targetColumn}" to learn. ${known(config.targetColumn, columns)}`,
      { field: "targetColumn" },
    );
  if (named.includes(config.targetColumn))
    return fail(
      "config_invalid",
      `The template shows the column "${config.targetColumn}", which is the answer to be learnt: the model would only copy it. Take {${config.targetColumn}} out of the template.`,
      { field },
    );
  if (named.length === 0)
    return fail(
      "config_invalid",
      `The template names no column, so every prompt would be the same. Put at least one in, for example {${columns.find((name) => name !== config.targetColumn) ?? "text"}}.`,
      { field },
    );
  return ok(null);
}

/** Prompt and completion of each row of a split; the config has been checked. */
export async function* renderRows(
  services: Pick<Services, "storage">,
  dataset: Pick<Dataset, "id" | "profile">,
  config: RenderConfig,
  split: Split,
): AsyncGenerator<Rendered> {
  const parts = parseTemplate(config.promptTemplate);
  if (!parts.ok) throw new Error(parts.message);
  for await (const { index, values } of readRows(services, dataset, { split })) {
    yield { index, prompt: renderParts(parts.value, values), completion: values[config.targetColumn] ?? "" };
  }
}

export async function previewTemplate(
  ctx: OrgCtx,
  input: PreviewTemplateInput,
): Promise<Result<TemplatePreview, TemplateProblem | "dataset_not_found" | "dataset_not_ready">> {
  const dataset = await findReadyDataset(ctx, input.datasetId);
  if (!dataset.ok) return dataset;
  const checked = checkTemplate(input, columnNames(dataset.value));
  if (!checked.ok) return checked;
  const measured = await measureTraining(ctx, {
    key: [dataset.value.id, input.promptFormat, input.promptTemplate, input.targetColumn],
    rows: trainingRows(dataset.value),
    promptFormat: input.promptFormat,
    examples: () => renderRows(ctx, dataset.value, input, "train"),
  });
  if (!measured.ok) return measured;
  const examples: TemplatePreview["examples"] = [];
  for await (const { prompt, completion } of renderRows(ctx, dataset.value, input, "train")) {
    if (examples.length === EXAMPLES) break;
    examples.push({ prompt, completion, tokens: measured.value.count(prompt, completion) });
  }
  return ok({ examples, lengths: measured.value.lengths });
}

export async function findReadyDataset(
  ctx: OrgCtx,
  id: string,
): Promise<Result<Dataset, "dataset_not_found" | "dataset_not_ready">> {
  const dataset = await findDataset(ctx, id);
  if (!dataset.ok) return dataset;
  if (dataset.value.status === "ready") return dataset;
  const why =
    dataset.value.status === "failed"
      ? `could not be read: ${dataset.value.errorMessage ?? ""} Upload a corrected file.`
      : "is still being read. Try again in a moment.";
  return fail("dataset_not_ready", `The data set "${dataset.value.name}" ${why}`, { field: "datasetId" });
}

export function columnNames(dataset: Pick<Dataset, "profile">): string[] {
  return datasetProfile.parse(dataset.profile).columns.map((column) => column.name);
}

export function trainingRows(dataset: Pick<Dataset, "profile">): number {
  return datasetProfile.parse(dataset.profile).splitRows.train;
}

function known(wrong: string, columns: string[]): string {
  const near = closest(wrong, columns);
  return `Its columns are ${columns.map((name) => `"${name}"`).join(", ")}.${near === null ? "" : ` Did you mean "${near}"?`}`;
}

function renderParts(parts: Part[], values: Record<string, string>): string {
  return parts.map((part) => ("text" in part ? part.text : cellOf(part.column, values))).join("");
}

function cellOf(column: string, values: Record<string, string>): string {
  const value = Object.hasOwn(values, column) ? values[column] : undefined;
  if (value === undefined) throw new Error(`The template names the column "${column}", for which there is no value.`);
  return value;
}

function parseTemplate(template: string): Result<Part[], "config_invalid"> {
  const parts: Part[] = [];
  let text = "";
  for (let at = 0; at < template.length; at++) {
    const char = template[at];
    if (char !== "{" && char !== "}") {
      text += char;
    } else if (template[at + 1] === char) {
      text += char;
      at++;
    } else if (char === "}") {
      return unbalanced(template, at, "closes a placeholder that was never opened");
    } else {
      const end = template.indexOf("}", at);
      const column = template.slice(at + 1, end).trim();
      if (end === -1 || column.includes("{"))
        return unbalanced(template, at, "opens a placeholder that is never closed");
      if (column === "") return unbalanced(template, at, "opens a placeholder with no column name");
      if (text !== "") parts.push({ text });
      text = "";
      parts.push({ column });
      at = end;
    }
  }
  if (text !== "") parts.push({ text });
  return ok(parts);
}

function unbalanced(template: string, at: number, what: string): Result<never, "config_invalid"> {
  const line = template.slice(0, at).split("\n").length;
  return fail(
    "config_invalid",
    `In the prompt template, the brace on line ${line} ("${template.slice(at, at + 20)}") ${what}. Literal braces are written {{ and }}.`,
    { field: "promptTemplate" },
  );
}
