import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { fail, ok, type Result } from "@grove/contracts/errors";
import {
  type ByteRange,
  type ByteSource,
  checkKey,
  checkPrefix,
  type ObjectHead,
  type ObjectStore,
  type PutFailure,
  type StoredObject,
} from "./object-store.ts";

const ABANDONED_AFTER_MS = 24 * 3600 * 1000;

/** Objects as files under one folder; `.partial` holds those still being written, on the same disk so that a rename is atomic. */
export function fileSystemStore(root: string): ObjectStore {
  return new FileSystemStore(resolve(root));
}

class FileSystemStore implements ObjectStore {
  readonly #root: string;
  readonly #partial: string;
  #swept = false;

  constructor(root: string) {
    this.#root = root;
    this.#partial = join(root, ".partial");
  }

  async put(
    key: string,
    source: ByteSource,
    limits: { maxBytes?: number } = {},
  ): Promise<Result<StoredObject, PutFailure>> {
    const target = this.localPath(key);
    const partial = join(this.#partial, randomUUID());
    try {
      await this.#sweepAbandoned();
      await mkdir(this.#partial, { recursive: true });
      const written = await writeFile(partial, source, limits.maxBytes ?? Number.POSITIVE_INFINITY);
      if (!written.ok) return written;
      await mkdir(dirname(target), { recursive: true });
      await rename(partial, target);
      await syncFolder(dirname(target));
      return written;
    } catch (error) {
      if (isDiskFull(error))
        return fail("storage_full", "The object store's disk is full. Free some space and try again.");
      throw error;
    } finally {
      await rm(partial, { force: true });
    }
  }

  async get(key: string, range?: ByteRange): Promise<Readable | null> {
    const path = this.localPath(key);
    if ((await this.head(key)) === null) return null;
    return createReadStream(path, range);
  }

  async head(key: string): Promise<ObjectHead | null> {
    try {
      const found = await stat(this.localPath(key));
      return found.isFile() ? { bytes: found.size, modifiedAt: found.mtime } : null;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async delete(key: string): Promise<void> {
    await rm(this.localPath(key), { force: true });
  }

  async deletePrefix(prefix: string): Promise<void> {
    await rm(join(this.#root, checkPrefix(prefix)), { recursive: true, force: true });
  }

  async *list(prefix: string): AsyncIterable<{ key: string; bytes: number }> {
    const entries = await readdir(join(this.#root, checkPrefix(prefix)), { withFileTypes: true }).catch(
      emptyWhereMissing,
    );
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const key = prefix + entry.name;
      if (entry.isDirectory()) yield* this.list(`${key}/`);
      else yield { key, bytes: (await stat(join(this.#root, key))).size };
    }
  }

  localPath(key: string): string {
    return join(this.#root, checkKey(key));
  }

  /** Left by a process that was killed in mid-upload. */
  async #sweepAbandoned(): Promise<void> {
    if (this.#swept) return;
    this.#swept = true;
    for (const entry of await readdir(this.#partial).catch(emptyWhereMissing)) {
      const path = join(this.#partial, entry);
      const found = await stat(path).catch(() => null);
      if (found !== null && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS) await rm(path, { force: true });
    }
  }
}

async function writeFile(
  path: string,
  source: ByteSource,
  maxBytes: number,
): Promise<Result<StoredObject, PutFailure>> {
  const hash = createHash("sha256");
  let bytes = 0;
  const file = await open(path, "wx");
  const chunks = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await readNext(chunks);
      if (!next.ok) return next;
      if (next.value === null) break;
      bytes += next.value.byteLength;
      if (bytes > maxBytes)
        return fail("upload_too_large", `The file is larger than ${megabytes(maxBytes)} MB, which is the limit here.`);
      hash.update(next.value);
      await writeAll(file, next.value);
    }
    await file.sync();
    return ok({ bytes, sha256: hash.digest("hex") });
  } finally {
    await file.close();
    await chunks.return?.().catch(() => undefined); // lets the sender go; its own failure changes nothing here
  }
}

/** Reading and writing fail for different reasons: what the source throws is the sender's, not the disk's. */
async function readNext(chunks: AsyncIterator<Uint8Array>): Promise<Result<Uint8Array | null, "upload_interrupted">> {
  try {
    const next = await chunks.next();
    return ok(next.done === true ? null : next.value);
  } catch (error) {
    return fail(
      "upload_interrupted",
      `The upload broke off (${error instanceof Error ? error.message : String(error)}). Nothing was kept: send it again.`,
    );
  }
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength; ) {
    offset += (await file.write(chunk, offset)).bytesWritten;
  }
}

/** A rename survives a power cut only once its folder is on disk. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function megabytes(bytes: number): string {
  return String(Math.round((bytes / 1_000_000) * 10) / 10);
}

function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";
}

export function isDiskFull(error: unknown): boolean {
  return codeOf(error) === "ENOSPC" || codeOf(error) === "EDQUOT";
}

function emptyWhereMissing(error: unknown): [] {
  if (isMissing(error)) return [];
  throw error;
}
