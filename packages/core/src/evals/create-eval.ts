import { datasetProfile } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { type CreateEvalInput, type EvalView, hasRightAnswers } from "@grove/contracts/evals";
import { isServed, type JobConfig, jobConfig } from "@grove/contracts/jobs";
import { evalRun } from "@grove/contracts/messages";
import { type Dataset, isUniqueViolation } from "@grove/db";
import { findVersion } from "../adapters/read.ts";
import type { OrgCtx } from "../context.ts";
import { findDataset } from "../datasets/read.ts";
import { templateColumns } from "../datasets/template.ts";
import { answerLength } from "./answer-length.ts";
import { defaultMetric, readItems } from "./items.ts";
import { detectLabels } from "./labels.ts";
import { getEval } from "./read.ts";

type CreateEvalError =
  | "adapter_not_found"
  | "dataset_not_found"
  | "dataset_not_ready"
  | "dataset_too_small"
  | "template_column_missing"
  | "target_column_missing"
  | "config_invalid"
  | "idempotency_conflict"
  | "eval_not_found";

type Subject = { versionId: string; config: JobConfig; trainedOn: string | null };

/** The adapter and its base over held-out rows, with the adapter's own template. A test split that is empty gives way to the validation split. */
export async function createEval(ctx: OrgCtx, input: CreateEvalInput): Promise<Result<EvalView, CreateEvalError>> {
  const subject = await findSubject(ctx, input.adapterId);
  if (!subject.ok) return subject;
  if (!hasRightAnswers(subject.value.config))
    return fail(
      "config_invalid",
      `An evaluation compares answers with a column of right ones; ${input.adapterId} learnt from ${subject.value.config.dataKind === "text" ? "plain text" : "conversations"}, which have none. Its validation loss says how well it fits.`,
      { field: "adapterId" },
    );
  if (!isServed(subject.value.config))
    return fail(
      "config_invalid",
      `${input.adapterId} was trained with DoRA, which is not served from the shared base, so it cannot answer here. Download it, or take it merged into its base.`,
      { field: "adapterId" },
    );
  const datasetId = input.datasetId ?? subject.value.trainedOn;
  if (datasetId === null)
    return fail(
      "dataset_not_found",
      `${input.adapterId} was not trained here: say which data set it is to be evaluated on.`,
      { field: "datasetId" },
    );
  const dataset = await findDataset(ctx, datasetId);
  if (!dataset.ok) return dataset;
  const held = heldOut(dataset.value, subject.value.config, input);
  if (!held.ok) return held;
  const labels = await detectLabels(ctx, dataset.value, subject.value.config.targetColumn);
  const data = {
    orgId: ctx.orgId,
    adapterVersionId: subject.value.versionId,
    datasetId: dataset.value.id,
    status: "queued",
    split: held.value.split,
    metric: input.metric ?? defaultMetric(labels),
    ...(labels ? { labels } : {}),
    rows: held.value.rows,
    maxNewTokens: input.maxNewTokens ?? (await lengthFor(ctx, dataset.value, subject.value.config, held.value)),
    idempotencyKey: input.idempotencyKey ?? null,
  };
  const created = await ctx.db.eval.create({ data, select: { id: true } }).catch((error: unknown) => {
    if (isUniqueViolation(error)) return null;
    throw error;
  });
  if (!created) return sameAsBefore(ctx, input, data);
  await ctx.queues.send(evalRun, { evalId: created.id }); // lost only while the queue is down: the worker's sweep sends it again
  return getEval(ctx, created.id);
}

async function findSubject(ctx: OrgCtx, id: string): Promise<Result<Subject, "adapter_not_found">> {
  const version = await findVersion(ctx, id);
  if (!version.ok) return fail(version.code, version.message, { field: "adapterId" });
  const { id: versionId, config, job } = version.value;
  return ok({ versionId, config: jobConfig.parse(config), trainedOn: job?.datasetId ?? null });
}

async function lengthFor(ctx: OrgCtx, dataset: Dataset, config: JobConfig, held: HeldOut): Promise<number> {
  const items = await readItems(ctx, dataset, config, { split: held.split, limit: held.rows });
  return answerLength(ctx, config, items);
}

type HeldOut = { split: "validation" | "test"; rows: number };
type HeldOutError = "dataset_not_ready" | "dataset_too_small" | "template_column_missing" | "target_column_missing";

function heldOut(dataset: Dataset, config: JobConfig, input: CreateEvalInput): Result<HeldOut, HeldOutError> {
  if (dataset.status !== "ready")
    return fail(
      "dataset_not_ready",
      `The data set "${dataset.name}" is ${dataset.status}; it can be used once it is ready.`,
    );
  const profile = datasetProfile.parse(dataset.profile);
  const columns = new Set(profile.columns.map((column) => column.name));
  const missing = templateColumns(config.promptTemplate).find((column) => !columns.has(column));
  if (missing !== undefined)
    return fail(
      "template_column_missing",
      `The adapter's template uses {${missing}}, and "${dataset.name}" has no such column.`,
      { field: "datasetId" },
    );
  if (!columns.has(config.targetColumn)) {
    return fail(
      "target_column_missing",
      `The adapter answers with "${config.targetColumn}", and "${dataset.name}" has no such column.`,
      { field: "datasetId" },
    );
  }
  const other = input.split === "test" ? "validation" : "test";
  const split = profile.splitRows[input.split] > 0 ? input.split : other;
  const available = profile.splitRows[split];
  if (available === 0)
    return fail("dataset_too_small", `"${dataset.name}" has no held-out rows: neither a test nor a validation split.`);
  return ok({ split, rows: Math.min(input.rows, available) });
}

/** The same key gives the same evaluation again; for other work it is a mistake of the caller. */
async function sameAsBefore(
  ctx: OrgCtx,
  input: CreateEvalInput,
  data: { adapterVersionId: string; datasetId: string; metric: string; rows: number; maxNewTokens: number },
): Promise<Result<EvalView, "idempotency_conflict" | "eval_not_found">> {
  const { adapterVersionId, datasetId, metric, rows, maxNewTokens } = data;
  const same = { adapterVersionId, datasetId, metric, rows, maxNewTokens };
  const before = await ctx.db.eval.findFirst({
    where: { orgId: ctx.orgId, idempotencyKey: input.idempotencyKey ?? null, ...same },
    select: { id: true },
  });
  if (!before)
    return fail("idempotency_conflict", "This idempotency key was used for another evaluation.", {
      field: "idempotencyKey",
    });
  return getEval(ctx, before.id);
}
