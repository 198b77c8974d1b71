import type { Readable } from "node:stream";
import type { Result } from "@grove/contracts/errors";

export type ByteSource = AsyncIterable<Uint8Array>;
export type StoredObject = { bytes: number; sha256: string };
export type ObjectHead = { bytes: number; modifiedAt: Date };
export type PutFailure = "storage_full" | "upload_too_large" | "upload_interrupted";
/** Both ends inclusive, as in an HTTP Range header. */
export type ByteRange = { start: number; end?: number };

/** Where files live, by key. Everything streams; an object is whole or absent. */
export interface ObjectStore {
  /** Nothing is left behind by a put that fails, for whatever reason. */
  put(key: string, source: ByteSource, limits?: { maxBytes?: number }): Promise<Result<StoredObject, PutFailure>>;
  /** Null where there is no such object. */
  get(key: string, range?: ByteRange): Promise<Readable | null>;
  head(key: string): Promise<ObjectHead | null>;
  delete(key: string): Promise<void>;
  deletePrefix(prefix: string): Promise<void>;
  list(prefix: string): AsyncIterable<{ key: string; bytes: number }>;
  /** The object as a file on this machine, where the driver has one. */
  localPath(key: string): string | null;
}

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Keys are made by our own code; one that is not plain path segments is a bug or an attack, so it throws. */
export function checkKey(key: string): string {
  const valid = key.length <= 512 && key.split("/").every((segment) => SEGMENT.test(segment));
  if (!valid) throw new Error(`Not an object key: ${JSON.stringify(key)}`);
  return key;
}

/** A prefix is a key with a closing slash: it names a folder, never part of a name. */
export function checkPrefix(prefix: string): string {
  if (!prefix.endsWith("/")) throw new Error(`Not an object prefix: ${JSON.stringify(prefix)}`);
  checkKey(prefix.slice(0, -1));
  return prefix;
}

/** An object's text in one piece; for small ones only. Null where there is no such object. */
export async function readText(store: ObjectStore, key: string): Promise<string | null> {
  const stream = await store.get(key);
  if (stream === null) return null;
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}
