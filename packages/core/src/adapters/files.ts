import { open } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type AdapterFileName, adapterFileNames } from "@grove/contracts/adapters";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Services } from "../context.ts";

/** The two files that an adapter's identity is made of: the same hash, the same bytes, whoever put them there. */
export const hashedFileNames = ["adapter_config.json", "adapter_model.safetensors"] as const;
export type HashedFileName = (typeof hashedFileNames)[number];

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
  names: readonly AdapterFileName[] = adapterFileNames,
): Promise<Result<null, "storage_full">> {
  for (const name of names) {
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
