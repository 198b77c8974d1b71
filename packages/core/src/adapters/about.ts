import { createHash } from "node:crypto";
import { evalSummary } from "@grove/contracts/evals";
import { readText } from "@grove/storage";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";
import { baseFacts } from "./base-facts.ts";
import { type CardFacts, type CardForm, type CardScore, renderCard } from "./card.ts";
import { adapterFileKey } from "./files.ts";
import { toVersionView, type VersionRow } from "./view.ts";

type Reader = Pick<Services, "db" | "storage" | "settings">;

/** Of a run's manifest, what a card tells; an import need not have any of it. */
const manifest = z.looseObject({
  step: z.int().nullable().catch(null),
  data_sha256: z.string().nullable().catch(null),
  stopped_by: z.string().nullable().catch(null),
});

export function importKey(transferId: string, name: string): string {
  return `imports/${transferId}/${name}`;
}

/** The model card as it is true now. Who may see the version may see it. */
export async function readCard(ctx: Reader, row: VersionRow, form: CardForm = "peft"): Promise<string> {
  return renderCard(await factsOf(ctx, row), form);
}

/** `grove.json`: the run's manifest, and how the adapter is asked. */
export async function readGroveFile(ctx: Reader, row: VersionRow): Promise<string> {
  const { config, baseModel } = toVersionView(row);
  const ours = {
    prompt_format: config.promptFormat,
    base_model: baseModel,
    prompt_template: config.promptTemplate,
    prompt_template_sha256: createHash("sha256").update(config.promptTemplate).digest("hex"),
    ...(row.origin === null ? { target_column: config.targetColumn } : {}),
  };
  return `${JSON.stringify({ version: 1, ...(await readManifest(ctx, row)), ...ours }, null, 2)}\n`;
}

/** What the trainer wrote, or what an import brought; empty where there is none. */
export async function readManifest(ctx: Pick<Reader, "storage">, row: VersionRow): Promise<Record<string, unknown>> {
  const imported = row.transfers[0];
  const key =
    row.origin === null
      ? adapterFileKey(row.sha256, "grove.json")
      : imported === undefined
        ? null
        : importKey(imported.id, "grove.json");
  const text = key === null ? null : await readText(ctx.storage, key);
  const parsed = z.record(z.string(), z.unknown()).safeParse(parseJson(text ?? "null"));
  return parsed.success ? parsed.data : {};
}

async function factsOf(ctx: Reader, row: VersionRow): Promise<CardFacts> {
  const version = toVersionView(row);
  const run = manifest.parse({ step: null, data_sha256: null, stopped_by: null, ...(await readManifest(ctx, row)) });
  const imported = row.origin === null ? undefined : row.transfers[0];
  const job =
    row.jobId === null
      ? null
      : await ctx.db.job.findUnique({
          where: { id: row.jobId },
          select: { trainTokens: true, dataset: { select: { name: true, sha256: true } } },
        });
  return {
    version,
    base: await baseFacts(ctx.settings, version.baseModel),
    dataset: job?.dataset ?? null,
    run: {
      steps: run.step,
      tokens: job?.trainTokens == null ? null : Number(job.trainTokens),
      rowsSha256: run.data_sha256,
      stoppedBy: run.stopped_by,
    },
    scores: await scoresOf(ctx, row.id),
    original: imported === undefined ? null : await readText(ctx.storage, importKey(imported.id, "README.md")),
  };
}

/** The newest finished evaluation of each metric on each data set and split. */
async function scoresOf(ctx: Pick<OrgCtx, "db">, adapterVersionId: string): Promise<CardScore[]> {
  const evals = await ctx.db.eval.findMany({
    where: { adapterVersionId, status: "succeeded" },
    orderBy: { id: "desc" },
    take: 50,
    select: { split: true, summary: true, dataset: { select: { id: true, name: true } } },
  });
  const newest = new Map<string, CardScore>();
  for (const { split, summary, dataset } of evals) {
    const parsed = evalSummary.safeParse(summary);
    if (!parsed.success) continue;
    const { metric, rows, adapter, base } = parsed.data;
    const key = `${dataset.id} ${split} ${metric}`;
    if (!newest.has(key))
      newest.set(key, { metric, split, rows, dataset: dataset.name, adapter: adapter.score, base: base.score });
  }
  return [...newest.values()];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
