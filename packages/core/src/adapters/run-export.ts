import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type ErrorCode, errorTable, fail, ok, type Result } from "@grove/contracts/errors";
import { type ExportKind, exportKinds, liveTransferStatuses } from "@grove/contracts/transfers";
import { isDiskFull } from "@grove/storage/file-system";
import { ZipFile } from "yazl";
import { z } from "zod";
import type { CoreSettings, Services } from "../context.ts";
import { readCard } from "./about.ts";
import { openAdapterFiles } from "./download.ts";
import { exportFileName, exportKey } from "./exports.ts";
import { lastLine, runPython } from "./python.ts";
import { type VersionRow, versionParts } from "./view.ts";
import { finishZip } from "./zip.ts";

type Message = { exportId: string; lastAttempt: boolean };

export function exportFolder(settings: Pick<CoreSettings, "workFolder">, exportId: string): string {
  return join(settings.workFolder, "exports", exportId);
}

/** The worker's half of an export. It may run twice: the row is one, and so is the object that it writes. */
export async function runExport(
  services: Services,
  { exportId, lastAttempt }: Message,
  signal: AbortSignal,
): Promise<Result<null>> {
  const { db } = services;
  const taken = await db.adapterExport.updateMany({
    where: { id: exportId, status: { in: [...liveTransferStatuses] } },
    data: { status: "running" },
  });
  if (taken.count === 0) return ok(null);
  const row = await db.adapterExport.findUnique({
    where: { id: exportId },
    include: { version: { include: versionParts } },
  });
  if (row === null) return ok(null);
  const kind = z.enum(exportKinds).parse(row.kind);
  const folder = exportFolder(services.settings, exportId);
  try {
    const made = await make(services, { id: exportId, version: row.version, kind, folder, signal });
    if (signal.aborted) return ok(null); // the row says that it runs: the sweep of the next worker sends it again
    if (!made.ok && errorTable[made.code].retry && !lastAttempt) return made;
    await settle(services, exportId, made);
    return ok(null);
  } catch (error) {
    if (signal.aborted) return ok(null);
    const full = isDiskFull(error);
    if (!lastAttempt && !full) throw error;
    const message = full ? "The worker's disk is full." : error instanceof Error ? error.message : String(error);
    await settle(services, exportId, fail(full ? "storage_full" : "internal", message));
    return ok(null);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function settle(services: Services, exportId: string, made: Result<number, ErrorCode>): Promise<void> {
  const data = made.ok
    ? { status: "ready", bytes: made.value, message: null, finishedAt: new Date() }
    : { status: "failed", message: made.message, finishedAt: new Date() };
  const { count } = await services.db.adapterExport.updateMany({ where: { id: exportId, status: "running" }, data });
  if (count === 0 && (await services.db.adapterExport.findUnique({ where: { id: exportId } })) === null)
    await services.storage.deletePrefix(`exports/${exportId}/`); // deleted while it was made
}

type Making = { id: string; version: VersionRow; kind: ExportKind; folder: string; signal: AbortSignal };
type MakeError = "adapter_not_found" | "adapter_invalid" | "storage_full";

/** The size of what was put into the object store. */
async function make(services: Services, making: Making): Promise<Result<number, MakeError>> {
  const { version, kind, folder, signal } = making;
  await rm(folder, { recursive: true, force: true });
  const adapter = join(folder, "adapter");
  if (!(await writeAdapterFolder(services, version, adapter)))
    return fail("adapter_not_found", "The adapter's files are no longer in the object store.");
  const base = services.settings.baseModel.path;
  const out = join(folder, kind === "gguf" ? "adapter.gguf" : "merged");
  const command = { gguf: "lora_py.gguf_lora", merged: "lora_py.merge_base" }[kind];
  const args = [command, "--adapter", adapter, "--base", base, "--out", out];
  const said = await runPython(services.settings.python, args, { signal });
  if (said.exitCode !== 0)
    return fail("adapter_invalid", lastLine(said.stderr) || `It ended with status ${said.exitCode}.`);
  const fileName = exportFileName(version.repository.name, version.version, kind);
  const source = kind === "gguf" ? createReadStream(out) : await zipMerged(services, version, out, fileName);
  const stored = await services.storage.put(exportKey(making.id, fileName), source);
  if (stored.ok) return ok(stored.value.bytes);
  if (stored.code === "storage_full") return fail("storage_full", stored.message);
  throw new Error(stored.message);
}

/** False: the weights are gone. */
export async function writeAdapterFolder(services: Services, version: VersionRow, folder: string): Promise<boolean> {
  const files = await openAdapterFiles(services, version);
  if (files === null) return false;
  await mkdir(folder, { recursive: true });
  for (const { name, stream } of files) await pipeline(stream, createWriteStream(join(folder, name)));
  return true;
}

/** Under one folder in the archive, with the card of what it is now. */
async function zipMerged(services: Services, version: VersionRow, folder: string, fileName: string): Promise<Readable> {
  await writeFile(join(folder, "README.md"), await readCard(services, version, "merged"));
  const zip = new ZipFile();
  const root = fileName.replace(/\.zip$/, "");
  for (const name of (await readdir(folder)).toSorted())
    zip.addFile(join(folder, name), `${root}/${name}`, { compress: false });
  return (await finishZip(zip)).stream;
}
