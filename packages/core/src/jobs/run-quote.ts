import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { quoteInput } from "@grove/contracts/jobs";
import { type TrainerQuote, trainerEvent, trainerQuote } from "@grove/contracts/trainer";
import type { Quote } from "@grove/db";
import type { Services } from "../context.ts";
import { fetchStart } from "./start-folder.ts";
import { parseJson, quoteFolder, removeWorkFolder, renderSpec } from "./work-folder.ts";

const LONGEST_MS = 10 * 60_000;

/** The worker's half of a quote. Of the drafts that one organisation has waiting, only the latest is worked out. */
export async function runQuote(
  services: Services,
  { quoteId }: { quoteId: string },
  signal: AbortSignal,
): Promise<Result<null>> {
  const { db } = services;
  const row = await db.quote.findUnique({ where: { id: quoteId } });
  if (row?.status !== "waiting") return ok(null);
  const newer = await db.quote.findFirst({
    where: { orgId: row.orgId, status: "waiting", createdAt: { gt: row.createdAt } },
  });
  if (newer !== null) {
    await db.quote.delete({ where: { id: quoteId } }); // asked for again, it comes again
    return ok(null);
  }
  const answer = await ask(services, row, signal).catch((error: unknown) => fail("internal", String(error)));
  if (signal.aborted) return ok(null); // the row waits, and the next question for it sends it again
  const data = answer.ok
    ? { status: "ready", result: answer.value }
    : { status: "failed", code: answer.code, message: answer.message };
  await db.quote.updateMany({ where: { id: quoteId }, data });
  return ok(null);
}

/** The trainer's quote, or in words why there is none. */
async function ask(services: Services, row: Quote, signal: AbortSignal): Promise<Result<TrainerQuote>> {
  const { datasetId, config } = quoteInput.parse(row.input);
  const dataset = await services.db.dataset.findFirst({ where: { id: datasetId, orgId: row.orgId } });
  if (dataset === null) return fail("dataset_not_found", "The data set is gone.");
  const folder = quoteFolder(services.settings, row.id);
  try {
    await mkdir(folder.path, { recursive: true });
    const start = await fetchStart(services, { orgId: row.orgId, config }, folder);
    if (!start.ok) return start;
    const job = { jobId: row.id, attempt: 1, dataset, config, start: start.value };
    const spec = await renderSpec(services, job, folder, () => signal.throwIfAborted());
    await writeFile(folder.specFile, JSON.stringify(spec));
    return await runTrainerQuote(services.settings.python, folder.specFile, signal);
  } finally {
    await removeWorkFolder(folder);
  }
}

async function runTrainerQuote(python: string, specFile: string, signal: AbortSignal): Promise<Result<TrainerQuote>> {
  const options = { signal, timeout: LONGEST_MS };
  const { stdout, error } = await promisify(execFile)(
    python,
    ["-m", "trainer", "quote", "--spec", specFile],
    options,
  ).then(
    (said) => ({ stdout: said.stdout, error: null }),
    (error: Error & { stdout?: string }) => ({ stdout: error.stdout ?? "", error }),
  );
  const line = parseJson(stdout.trim().split("\n").at(-1) ?? "");
  const quote = trainerQuote.safeParse(line);
  if (quote.success) return ok(quote.data);
  const event = trainerEvent.safeParse(line);
  if (event.success && event.data.event === "failed") return fail(event.data.code, event.data.message);
  const said = error?.message.split("\n")[0] ?? JSON.stringify(stdout.slice(0, 200));
  return fail("trainer_failed", `The trainer gave no quote: ${said}`);
}
