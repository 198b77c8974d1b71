import { fail, ok, type Result } from "@grove/contracts/errors";
import { metrics } from "@grove/contracts/evals";
import { type JobConfig, jobConfig } from "@grove/contracts/jobs";
import type { Prisma } from "@grove/db";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";
import { type Answered, answerRow, type EvalPlan, ServingAway } from "./answer.ts";
import { areSingleLine, type EvalItem, readItems } from "./items.ts";
import { summarise } from "./summary.ts";

const ROWS_AT_ONCE = 8; // two sides each: enough prompts in flight to fill the engine's batch
const LOOK_EVERY_MS = 1_000; // how soon a cancelled evaluation stops

const evalParts = {
  org: { select: { slug: true } },
  dataset: { select: { id: true, profile: true } },
  adapterVersion: { select: { version: true, config: true, repository: { select: { name: true } } } },
} satisfies Prisma.EvalInclude;
type EvalRecord = Prisma.EvalGetPayload<{ include: typeof evalParts }>;

export type RunEvalInput = { evalId: string; lastAttempt?: boolean };

/**
 * The worker's half; may run twice or be broken off anywhere. Rows that are stored are not asked again, and a row that was
 * asked but not stored is billed once, by its key.
 */
export async function runEval(
  services: Services,
  { evalId, lastAttempt = false }: RunEvalInput,
  signal: AbortSignal,
): Promise<Result<null, "serving_unavailable" | "generation_failed">> {
  const { count } = await services.db.eval.updateMany({
    where: { id: evalId, status: "queued" },
    data: { status: "running", startedAt: new Date() },
  });
  const row = await services.db.eval.findUnique({ where: { id: evalId }, include: evalParts });
  if (!row || (count === 0 && row.status !== "running")) return ok(null); // cancelled, or finished by a run before this one
  const ctx: OrgCtx = { ...services, orgId: row.orgId, orgSlug: row.org.slug, actor: { kind: "system" } };
  const stop = new AbortController();
  const watch = setInterval(() => void stopIfOver(services, evalId, stop), LOOK_EVERY_MS);
  try {
    await answerAll(ctx, row, AbortSignal.any([signal, stop.signal]));
  } catch (error) {
    if (stop.signal.aborted) return ok(null);
    if (signal.aborted) return handBack(services, evalId);
    const away = error instanceof ServingAway;
    const errorCode = away ? "serving_unavailable" : "internal";
    const errorMessage = away ? error.message : "Something went wrong on our side; the worker's log tells what.";
    if (lastAttempt) await finish(services, evalId, { status: "failed", errorCode, errorMessage });
    if (!away) throw error;
    return fail("serving_unavailable", error.message);
  } finally {
    clearInterval(watch);
  }
  return settleEval(services, row);
}

async function answerAll(ctx: OrgCtx, row: EvalRecord, signal: AbortSignal): Promise<void> {
  const config = jobConfig.parse(row.adapterVersion.config);
  const split = row.split === "validation" ? "validation" : "test";
  const items = await readItems(ctx, row.dataset, config, { split, limit: row.rows });
  const plan = planOf(row, config, items);
  const stored = await ctx.db.evalRow.findMany({ where: { evalId: row.id }, select: { index: true } });
  const done = new Set(stored.map((one) => one.index));
  const queue = items.filter((item) => !done.has(item.index)).values();
  const broken = new AbortController(); // one worker that must stop stops the others
  const both = AbortSignal.any([signal, broken.signal]);
  const answerQueue = async () => {
    for (const item of queue) await answerAndStore(ctx, plan, item, both);
  };
  const workers = Array.from({ length: ROWS_AT_ONCE }, () =>
    answerQueue().catch((error: unknown) => {
      if (!broken.signal.aborted) broken.abort(error);
    }),
  );
  await Promise.all(workers);
  if (broken.signal.aborted) throw broken.signal.reason;
}

function planOf(row: EvalRecord, config: JobConfig, items: EvalItem[]): EvalPlan {
  return {
    evalId: row.id,
    baseModel: config.baseModel,
    adapterId: `${row.adapterVersion.repository.name}/${row.adapterVersion.version}`,
    chat: config.promptFormat === "chat",
    metric: z.enum(metrics).parse(row.metric),
    labels: labelsColumn.parse(row.labels),
    maxNewTokens: row.maxNewTokens,
    singleLine: areSingleLine(items),
  };
}

const labelsColumn = z.array(z.string()).nullable();

async function answerAndStore(ctx: OrgCtx, plan: EvalPlan, item: EvalItem, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const [adapter, base] = await Promise.all([
    answerRow(ctx, plan, "adapter", item, signal),
    answerRow(ctx, plan, "base", item, signal),
  ]);
  const data = {
    evalId: plan.evalId,
    index: item.index,
    prompt: item.prompt,
    reference: item.reference,
    ...columnsOf(adapter, base),
  };
  await ctx.db.evalRow.createMany({ data: [data], skipDuplicates: true });
}

function columnsOf(adapter: Answered, base: Answered) {
  return {
    adapterText: adapter.text,
    adapterScore: adapter.score,
    adapterExact: adapter.exact,
    adapterRougeL: adapter.rougeL,
    adapterForced: adapter.forced,
    adapterError: adapter.error,
    adapterPromptTokens: adapter.promptTokens,
    adapterCompletionTokens: adapter.completionTokens,
    adapterSeconds: adapter.seconds,
    baseText: base.text,
    baseScore: base.score,
    baseExact: base.exact,
    baseRougeL: base.rougeL,
    baseForced: base.forced,
    baseError: base.error,
    basePromptTokens: base.promptTokens,
    baseCompletionTokens: base.completionTokens,
    baseSeconds: base.seconds,
  };
}

/** This worker is told to stop: the evaluation waits again, and the sweep of the next worker sends its message. */
async function handBack(services: Services, id: string): Promise<Result<null, never>> {
  await services.db.eval.updateMany({ where: { id, status: "running" }, data: { status: "queued" } });
  return ok(null);
}

async function stopIfOver(services: Services, evalId: string, stop: AbortController): Promise<void> {
  const row = await services.db.eval
    .findUnique({ where: { id: evalId }, select: { status: true } })
    .catch(() => undefined);
  if (row !== undefined && row?.status !== "running") stop.abort();
}

/** A row that failed is counted against its side; where nothing of a side came through there is no result to show. */
async function settleEval(services: Services, row: EvalRecord): Promise<Result<null, "generation_failed">> {
  const results = await services.db.evalRow.findMany({ where: { evalId: row.id }, orderBy: { index: "asc" } });
  const seconds = (Date.now() - (row.startedAt?.getTime() ?? Date.now())) / 1000;
  const summary = summarise(results, z.enum(metrics).parse(row.metric), labelsColumn.parse(row.labels), seconds);
  const reason = results[0]?.adapterError ?? results[0]?.baseError ?? "";
  if (
    results.length > 0 &&
    (summary.adapter.failedRows === results.length || summary.base.failedRows === results.length)
  ) {
    const message = `Not one row was answered. The first refusal: ${reason}`;
    await finish(services, row.id, { status: "failed", errorCode: "generation_failed", errorMessage: message });
    return fail("generation_failed", message);
  }
  await finish(services, row.id, { status: "succeeded", summary });
  return ok(null);
}

async function finish(services: Services, id: string, data: Prisma.EvalUpdateManyMutationInput): Promise<void> {
  await services.db.eval.updateMany({ where: { id, status: "running" }, data: { ...data, finishedAt: new Date() } });
}
