import { datasetProfile } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { CreateJobInput, JobConfig } from "@grove/contracts/jobs";
import type { Dataset } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { checkRows } from "../datasets/examples.ts";
import { findReadyDataset } from "../datasets/preview.ts";
import type { TemplateProblem } from "../datasets/template.ts";
import { checkMethod } from "./check-method.ts";
import { findStart } from "./continue-from.ts";

export type JobProblem =
  | "dataset_not_found"
  | "dataset_not_ready"
  | "dataset_too_small"
  | "base_model_not_found"
  | "adapter_not_found"
  | TemplateProblem;

export const FEWEST_TRAINING_ROWS = 10;

/** All that can be refused before a job is made; the quote and the job itself agree on it. */
export async function checkJob(ctx: OrgCtx, input: CreateJobInput): Promise<Result<Dataset, JobProblem>> {
  const found = await findReadyDataset(ctx, input.datasetId);
  if (!found.ok) return found;
  const { config } = input;
  const base = ctx.settings.baseModel.id;
  if (config.baseModel !== base)
    return fail(
      "base_model_not_found",
      `The base model "${config.baseModel}" is not installed here. This installation has "${base}".`,
      { field: "config.baseModel" },
    );
  const profile = datasetProfile.parse(found.value.profile);
  const template = checkRows(config, profile.columns);
  if (!template.ok) return { ...template, field: `config.${template.field ?? "promptTemplate"}` };
  const method = checkMethod(config, profile);
  if (!method.ok) return method;
  const start = await findStart(ctx, config);
  if (!start.ok) return start;
  const enough = checkSize(found.value, config);
  if (!enough.ok) return enough;
  const repository = await ctx.db.repository.findUnique({
    where: { orgId_name: { orgId: ctx.orgId, name: input.repository } },
  });
  if (repository && repository.baseModel !== config.baseModel) {
    return fail(
      "config_invalid",
      `The repository "${repository.name}" holds adapters of ${repository.baseModel}. Choose another repository for ${config.baseModel}.`,
      { field: "repository" },
    );
  }
  return found;
}

function checkSize(dataset: Dataset, config: JobConfig): Result<null, "dataset_too_small"> {
  const profile = datasetProfile.parse(dataset.profile);
  const { train } = profile.splitRows;
  if (train < FEWEST_TRAINING_ROWS) {
    const of = train === profile.rows ? "" : ` of its ${profile.rows} rows`;
    return fail(
      "dataset_too_small",
      `"${dataset.name}" has ${train === 1 ? "1 training row" : `${train} training rows`}${of}, too few to learn from: at least ${FEWEST_TRAINING_ROWS} are needed, and a few hundred make a good start.`,
      { field: "datasetId" },
    );
  }
  const empty = profile.columns.find((column) => column.name === config.targetColumn)?.empty ?? 0;
  const answered = profile.rows - empty;
  if (answered < FEWEST_TRAINING_ROWS) {
    return fail(
      "dataset_too_small",
      `The column "${config.targetColumn}" is empty in ${empty} of ${profile.rows} rows: there are only ${answered} answers to learn from, and at least ${FEWEST_TRAINING_ROWS} are needed.`,
      { field: "config.targetColumn" },
    );
  }
  return ok(null);
}
