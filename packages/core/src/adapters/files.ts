import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type AdapterFileName, adapterFileNames } from "@grove/contracts/adapters";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { ZipFile } from "yazl";
import type { OrgCtx, Services } from "../context.ts";
import { findVersion } from "./read.ts";

/** Where a file of an adapter lives: by content, so that nothing there ever changes. */
export function adapterFileKey(sha256: string, name: AdapterFileName): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error(`Not a hash: ${sha256}`);
  return `adapters/${sha256}/${name}`;
}

/** Puts a PEFT folder into the object store. Throws where a file of it is gone. */
export async function storeAdapterFiles(
  { storage }: Pick<Services, "storage">,
  sha256: string,
  folder: string,
): Promise<Result<null, "storage_full">> {
  for (const name of adapterFileNames) {
    const file = await open(join(folder, name));
    const stored = await storage.put(adapterFileKey(sha256, name), file.createReadStream());
    if (!stored.ok) return fail("storage_full", stored.message);
  }
  return ok(null);
}

export async function openAdapterFile(
  services: Pick<Services, "storage">,
  sha256: string,
  name: AdapterFileName,
): Promise<{ stream: Readable; bytes: number } | null> {
  const key = adapterFileKey(sha256, name);
  const [head, stream] = await Promise.all([services.storage.head(key), services.storage.get(key)]);
  return head === null || stream === null ? null : { stream, bytes: head.bytes };
}

/** The PEFT folder as a zip, packed while it is sent. */
export async function zipAdapter(
  ctx: OrgCtx,
  adapterId: string,
): Promise<Result<{ fileName: string; stream: AsyncIterable<Uint8Array> }, "adapter_not_found">> {
  const version = await findVersion(ctx, adapterId);
  if (!version.ok) return version;
  const { sha256, createdAt: mtime, repository, version: number } = version.value;
  const folder = `${repository.name}-${number}`;
  const zip = new ZipFile();
  for (const name of adapterFileNames) {
    const file = await openAdapterFile(ctx, sha256, name);
    if (file === null)
      return fail("adapter_not_found", `The files of "${adapterId}" are no longer in the object store.`);
    zip.addReadStream(file.stream, `${folder}/${name}`, { mtime, compress: !name.endsWith(".safetensors") });
  }
  zip.end();
  return ok({ fileName: `${folder}.zip`, stream: bytesOf(zip.outputStream) });
}

async function* bytesOf(stream: NodeJS.ReadableStream): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}
