import { type DatasetView, type UploadDatasetInput, uploadDatasetInput } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { datasetIngest } from "@grove/contracts/messages";
import type { PutFailure } from "@grove/storage";
import type { OrgCtx } from "../context.ts";
import { uuid7 } from "../ids.ts";
import { detectFormat } from "./format.ts";
import { sourceKey } from "./split.ts";
import { toDatasetView } from "./view.ts";

type UploadProblem = PutFailure | "dataset_format_unknown" | "dataset_empty";

/**
 * Streams the file into the object store, then writes the row and asks a worker to read it. The row is last: an upload
 * that breaks off, is too large or of a wrong kind leaves nothing. Where the queue is down the worker's sweep finds the row.
 */
export async function uploadDataset(
  ctx: OrgCtx,
  input: UploadDatasetInput,
  body: AsyncIterable<Uint8Array>,
): Promise<Result<DatasetView, UploadProblem>> {
  const { name, fileName, splitSeed } = uploadDatasetInput.parse(input);
  const opened = await openBody(body);
  if (!opened.ok) return opened;
  const { head, whole } = opened.value;
  const format = detectFormat(fileName, head);
  if (!format.ok) return format;
  const id = uuid7();
  const objectKey = sourceKey(id);
  const stored = await ctx.storage.put(objectKey, whole, { maxBytes: ctx.settings.maxUploadBytes });
  if (!stored.ok) return stored;
  try {
    const { bytes, sha256 } = stored.value;
    const row = await ctx.db.dataset.create({
      data: {
        id,
        orgId: ctx.orgId,
        name,
        fileName,
        format: format.value,
        status: "profiling",
        bytes,
        sha256,
        objectKey,
        splitSeed,
      },
    });
    await ctx.queues.send(datasetIngest, { datasetId: id });
    return ok(toDatasetView(row));
  } catch (error) {
    await ctx.storage.delete(objectKey);
    throw error;
  }
}

type Opened = { head: Uint8Array; whole: AsyncIterable<Uint8Array> };

/** Looks at the first bytes without losing them. */
async function openBody(
  body: AsyncIterable<Uint8Array>,
): Promise<Result<Opened, "upload_interrupted" | "dataset_empty">> {
  const chunks = body[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array>;
  try {
    do first = await chunks.next();
    while (first.done !== true && first.value.byteLength === 0);
  } catch {
    return fail("upload_interrupted", "The upload broke off before its first byte. Send it again.");
  }
  if (first.done === true) return fail("dataset_empty", "The file is empty.");
  const head = first.value;
  async function* whole(): AsyncGenerator<Uint8Array> {
    try {
      yield head;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
    } finally {
      await chunks.return?.();
    }
  }
  return ok({ head, whole: whole() });
}
