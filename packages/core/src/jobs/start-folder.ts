import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { JobConfig } from "@grove/contracts/jobs";
import { openAdapterFile } from "../adapters/files.ts";
import type { Services } from "../context.ts";
import { findStart } from "./continue-from.ts";

const names = ["adapter_config.json", "adapter_model.safetensors"] as const;

/** Brings the adapter that a job goes on from onto this machine; null: it starts a fresh one. */
export async function fetchStart(
  services: Services,
  job: { orgId: string; config: JobConfig },
  folder: { path: string },
): Promise<Result<string | null, "adapter_not_found" | "config_invalid">> {
  const found = await findStart({ db: services.db, orgId: job.orgId }, job.config);
  if (!found.ok) return found;
  if (found.value === null) return ok(null);
  const start = join(folder.path, "start");
  await mkdir(start, { recursive: true });
  for (const name of names) {
    const file = await openAdapterFile(services, found.value.sha256, name);
    if (file === null)
      return fail("adapter_not_found", `The files of "${found.value.id}" are no longer in the object store.`);
    await pipeline(file.stream, createWriteStream(join(start, name)));
  }
  return ok(start);
}
