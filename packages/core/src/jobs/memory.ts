import { fail, ok, type Result } from "@grove/contracts/errors";
import type { JobConfig, QuoteInput, Refusal } from "@grove/contracts/jobs";
import { trainerQuote } from "@grove/contracts/trainer";
import type { Quote } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { hashInput } from "./input-hash.ts";

const TRUE_FOR_MS = 10 * 60_000; // memory that others held may be free by then

/** What the trainer found to need more memory than its machine has is not begun; a job that nobody quoted is tried. */
export async function checkMemory(
  ctx: OrgCtx,
  { datasetId, config }: QuoteInput,
): Promise<Result<null, "job_too_large">> {
  const inputHash = hashInput({ datasetId, config });
  const row = await ctx.db.quote.findUnique({ where: { orgId_inputHash: { orgId: ctx.orgId, inputHash } } });
  const refusal = row === null || isToBeAskedAgain(row) ? null : memoryRefusal(row, config);
  return refusal === null ? ok(null) : fail("job_too_large", refusal.message, { field: refusal.field });
}

/** In words, with what to change; null where it fits, or where nobody knows. */
export function memoryRefusal(row: Quote, config: JobConfig): Refusal | null {
  const { batchSize, maxLength, quantization } = config.hyperparameters;
  const missing = missingMemory(row);
  if (missing === null) return null;
  const field = `config.hyperparameters.${batchSize > 1 ? "batchSize" : "maxLength"}`;
  if (missing.said !== null) return { code: "job_too_large", message: missing.said, field };
  const cures = [
    `lower the batch size (now ${batchSize})`,
    `lower the most tokens a row (now ${maxLength ?? "the 95th percentile"})`,
    ...(quantization === "none" ? ["train against a quantized base (nf4)"] : []),
  ];
  const { needed, available } = missing;
  return {
    code: "job_too_large",
    message: `This job needs about ${gigabytes(needed)} of memory, and the machine that trains has ${gigabytes(available)}. You can ${cures.slice(0, -1).join(", ")} or ${cures.at(-1)}.`,
    field,
  };
}

/** A failure, or a lack of memory, need not be true for ever. */
export function isToBeAskedAgain(row: Quote): boolean {
  const isBad = row.status === "failed" || missingMemory(row) !== null;
  return isBad && Date.now() - row.createdAt.getTime() > TRUE_FOR_MS;
}

/** `said`: the trainer's own words, where it gave up before it could measure. */
type Missing = { said: string } | { said: null; needed: number; available: number };

function missingMemory(row: Quote): Missing | null {
  if (row.status === "failed" && row.code === "trainer_out_of_memory")
    return { said: row.message ?? "The machine that trains ran out of memory." };
  if (row.status !== "ready") return null;
  const { memory_bytes: needed, memory_available_bytes: available } = trainerQuote.parse(row.result).quote;
  return available === undefined || needed <= available ? null : { said: null, needed, available };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
