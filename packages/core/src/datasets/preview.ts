import { datasetProfile, type PreviewTemplateInput, type TemplatePreview } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Dataset } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { checkRows, renderRows } from "./examples.ts";
import { measureTraining } from "./measure.ts";
import { findDataset } from "./read.ts";
import type { TemplateProblem } from "./template.ts";

const EXAMPLES = 3;

export async function previewTemplate(
  ctx: OrgCtx,
  input: PreviewTemplateInput,
): Promise<Result<TemplatePreview, TemplateProblem | "dataset_not_found" | "dataset_not_ready">> {
  const dataset = await findReadyDataset(ctx, input.datasetId);
  if (!dataset.ok) return dataset;
  const checked = checkRows(input, datasetProfile.parse(dataset.value.profile).columns);
  if (!checked.ok) return checked;
  const measured = await measureTraining(ctx, {
    key: measureKey(dataset.value.id, input),
    rows: trainingRows(dataset.value),
    promptFormat: input.promptFormat,
    examples: () => renderRows(ctx, dataset.value, input, "train"),
  });
  if (!measured.ok) return measured;
  const examples: TemplatePreview["examples"] = [];
  for await (const { prompt, completion, rejected } of renderRows(ctx, dataset.value, input, "train")) {
    if (examples.length === EXAMPLES) break;
    examples.push({ prompt, completion, rejected, tokens: measured.value.count(prompt, completion) });
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

/** What the lengths of rendered rows depend on. */
export function measureKey(datasetId: string, config: Omit<PreviewTemplateInput, "datasetId">): string[] {
  const { dataKind, promptFormat, promptTemplate, targetColumn, rejectedColumn } = config;
  return [datasetId, dataKind, promptFormat, promptTemplate, targetColumn, rejectedColumn ?? ""];
}
