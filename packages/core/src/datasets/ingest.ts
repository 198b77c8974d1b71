import { type DatasetProfile, datasetFormats, type Split, splits } from "@grove/contracts/datasets";
import { type ErrorCode, type Failure, fail, ok, type Result } from "@grove/contracts/errors";
import type { Dataset } from "@grove/db";
import type { PutFailure } from "@grove/storage";
import { z } from "zod";
import type { Services } from "../context.ts";
import { hash53 } from "./hash.ts";
import { profileTable, splitOf } from "./profile.ts";
import { splitColumn, splitKey } from "./split.ts";
import { readTable, type TableRow } from "./table.ts";

type IngestProblem = "dataset_file_invalid" | "dataset_empty" | "storage_full";

/**
 * Reads an uploaded file twice: once to check and count it, once to write each split as rows that training and evaluation
 * read straight. May run again at any point. A bad file ends as a failed row that says why; its objects are removed.
 */
export async function ingestDataset(
  services: Services,
  datasetId: string,
): Promise<Result<null, IngestProblem | "dataset_not_found">> {
  const dataset = await services.db.dataset.findUnique({ where: { id: datasetId } });
  if (!dataset) return fail("dataset_not_found", "The data set was deleted before it was read.");
  if (dataset.status !== "profiling") return ok(null);
  const profile = await ingest(services, dataset);
  if (!profile.ok) {
    await failDataset(services, datasetId, profile);
    return profile;
  }
  const { count } = await services.db.dataset.updateMany({
    where: { id: datasetId, status: "profiling" },
    data: { status: "ready", profile: profile.value },
  });
  if (count === 0) await removeIfDeleted(services, datasetId);
  return ok(null);
}

/** The one way to `failed`; nothing of the file stays. */
export async function failDataset(services: Services, datasetId: string, failure: Failure<ErrorCode>): Promise<void> {
  await services.storage.deletePrefix(`datasets/${datasetId}/`);
  await services.db.dataset.updateMany({
    where: { id: datasetId, status: "profiling" },
    data: { status: "failed", errorCode: failure.code, errorMessage: failure.message, errorLine: failure.line ?? null },
  });
}

async function ingest(services: Services, dataset: Dataset): Promise<Result<DatasetProfile, IngestProblem>> {
  const format = z.enum(datasetFormats).parse(dataset.format);
  const first = await services.storage.get(dataset.objectKey);
  if (first === null)
    return fail("dataset_file_invalid", "The uploaded file is no longer in the object store. Upload it again.");
  const profile = await profileTable(format, first, dataset.splitSeed);
  if (!profile.ok) return profile;
  const second = await services.storage.get(dataset.objectKey);
  if (second === null)
    return fail("dataset_file_invalid", "The uploaded file vanished from the object store. Upload it again.");
  const { columns, batches } = readTable(format, second);
  const by = profile.value.splitBy === "column" ? { column: () => splitColumn(columns) } : { seed: dataset.splitSeed };
  const writers = await openWriters(services, dataset.id);
  let index = 0;
  for await (const batch of batches) {
    if (!batch.ok) break; // checked by the first pass
    const texts = { train: "", validation: "", test: "" };
    for (const row of batch.value) texts[sideOf(row, by)] += `${JSON.stringify([index++, ...row.cells])}\n`;
    const written = await Promise.all(splits.map((split) => writers[split].write(texts[split])));
    if (written.includes(false)) break;
  }
  for (const split of splits) {
    const stored = await writers[split].end();
    if (!stored.ok)
      return stored.code === "storage_full"
        ? fail("storage_full", stored.message)
        : fail("dataset_file_invalid", stored.message);
  }
  return profile;
}

function sideOf(row: TableRow, by: { column: () => number } | { seed: number }): Split {
  if ("column" in by) return splitOf(row, [], { column: by.column() });
  return splitOf(
    row,
    row.cells.map((cell) => hash53(cell)),
    by,
  );
}

type Writer = { write(text: string): Promise<boolean>; end(): Promise<Result<unknown, PutFailure>> };

async function openWriters(services: Services, datasetId: string): Promise<Record<Split, Writer>> {
  const open = (split: Split): Writer => openWriter(services, splitKey(datasetId, split));
  return { train: open("train"), validation: open("validation"), test: open("test") };
}

/** A put that is fed piece by piece. Once the store has failed, `write` answers false and `end` says why. */
function openWriter(services: Services, key: string): Writer {
  const pipe = new TransformStream<Uint8Array, Uint8Array>();
  const writer = pipe.writable.getWriter();
  writer.closed.catch(() => undefined);
  const stored = services.storage.put(key, pipe.readable);
  return {
    async write(text) {
      if (text === "") return true;
      return writer.write(Buffer.from(text)).then(
        () => true,
        () => false,
      );
    },
    async end() {
      await writer.close().catch(() => undefined);
      return stored;
    },
  };
}

async function removeIfDeleted(services: Services, datasetId: string): Promise<void> {
  const row = await services.db.dataset.findUnique({ where: { id: datasetId }, select: { id: true } });
  if (row === null) await services.storage.deletePrefix(`datasets/${datasetId}/`);
}
