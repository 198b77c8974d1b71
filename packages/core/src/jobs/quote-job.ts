import { ok, type Result } from "@grove/contracts/errors";
import {
  type CreateJobInput,
  type JobConfig,
  type JobQuote,
  type QuoteInput,
  quoteStatuses,
} from "@grove/contracts/jobs";
import { jobQuote } from "@grove/contracts/messages";
import { trainerQuote } from "@grove/contracts/trainer";
import type { Dataset, Quote } from "@grove/db";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";
import { renderRows } from "../datasets/examples.ts";
import { measureTraining } from "../datasets/measure.ts";
import { measureKey, trainingRows } from "../datasets/preview.ts";
import { prices, priceTraining } from "../usage/prices.ts";
import { checkJob, type JobProblem } from "./check-job.ts";
import { trainingTokens } from "./estimate.ts";
import { hashInput } from "./input-hash.ts";
import { isToBeAskedAgain, memoryRefusal } from "./memory.ts";

/**
 * What the job will cost, with the prices of the invoice: an estimate by the tokenizer at once, and the trainer's own figures
 * as soon as a worker has them. Ask again while `status` is waiting.
 */
export async function quoteJob(ctx: OrgCtx, input: CreateJobInput): Promise<Result<JobQuote, JobProblem>> {
  const checked = await checkJob(ctx, input);
  if (!checked.ok) return checked;
  const estimate = await estimateTokens(ctx, checked.value, input.config);
  if (!estimate.ok) return estimate;
  const row = await askTrainer(ctx, { datasetId: input.datasetId, config: input.config });
  return ok(toQuote(row, estimate.value, input.config));
}

/** Training tokens by the tokenizer of the base, over the rows or, of very many, an even sample. */
export async function estimateTokens(
  ctx: OrgCtx,
  dataset: Dataset,
  config: JobConfig,
): Promise<Result<number, "config_invalid">> {
  const measured = await measureTraining(ctx, {
    key: measureKey(dataset.id, config),
    rows: trainingRows(dataset),
    promptFormat: config.promptFormat,
    examples: () => renderRows(ctx, dataset, config, "train"),
  });
  if (!measured.ok) return { ...measured, field: "config.promptFormat" };
  const sides = config.dataKind === "preference" ? 2 : 1; // of a pair, both answers go through the base with their prompt
  return ok(sides * trainingTokens(measured.value, config.hyperparameters));
}

/** Tokens that the trainer quoted for this data set and configuration; null where it was not asked, or not in time. */
export async function quotedTokens(services: Services, orgId: string, input: QuoteInput): Promise<bigint | null> {
  const row = await services.db.quote.findUnique({
    where: { orgId_inputHash: { orgId, inputHash: hashInput(input) }, status: "ready" },
  });
  return row === null ? null : BigInt(trainerQuote.parse(row.result).quote.tokens);
}

async function askTrainer(ctx: OrgCtx, input: QuoteInput): Promise<Quote> {
  const { orgId } = ctx;
  const inputHash = hashInput(input);
  await ctx.db.quote.createMany({ data: [{ orgId, inputHash, status: "waiting", input }], skipDuplicates: true });
  let row = await ctx.db.quote.findUniqueOrThrow({ where: { orgId_inputHash: { orgId, inputHash } } });
  if (isToBeAskedAgain(row)) {
    const again = { status: "waiting", createdAt: new Date(), code: null, message: null };
    row = await ctx.db.quote.update({ where: { id: row.id }, data: again });
  }
  if (row.status === "waiting") await ctx.queues.send(jobQuote, { quoteId: row.id });
  return row;
}

const status = z.enum(quoteStatuses);

function toQuote(row: Quote, estimate: number, config: JobConfig): JobQuote {
  const exact = row.status === "ready" ? trainerQuote.parse(row.result).quote : null;
  const trainTokens = exact?.tokens ?? estimate;
  return {
    trainTokens,
    priceMicroUsd: priceTraining(BigInt(trainTokens)),
    pricePerMillionTokensMicroUsd: prices.trainPerMillion,
    status: status.parse(row.status),
    message: row.message,
    exact:
      exact === null
        ? null
        : {
            totalSteps: exact.total_steps,
            trainRows: exact.train_rows,
            rowsCut: exact.rows_cut,
            rowsDropped: exact.rows_dropped,
            maxLength: exact.max_length,
            seconds: exact.seconds,
            memoryBytes: exact.memory_bytes,
            memoryAvailableBytes: exact.memory_available_bytes ?? null,
          },
    refusal: memoryRefusal(row, config),
  };
}
