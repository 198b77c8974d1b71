import { Readable } from "node:stream";
import { type AdapterFileName, adapterFileNames } from "@grove/contracts/adapters";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { DownloadFormat, ExportKind } from "@grove/contracts/transfers";
import { ZipFile } from "yazl";
import type { OrgCtx, Services } from "../context.ts";
import { readCard, readGroveFile } from "./about.ts";
import { exportContentTypes, exportKey, findExport } from "./exports.ts";
import { openAdapterFile } from "./files.ts";
import { findVersion } from "./read.ts";
import { findServable, quote } from "./servable.ts";
import type { VersionRow } from "./view.ts";
import { finishZip } from "./zip.ts";

export type Download = {
  fileName: string;
  contentType: string;
  bytes: number;
  stream: Readable;
};
export type AdapterFile = { name: AdapterFileName; bytes: number; stream: Readable };

/** The PEFT folder as a zip, packed while it is sent; the other forms as a worker made them. */
export async function downloadAdapter(
  ctx: OrgCtx,
  adapterId: string,
  format: DownloadFormat,
): Promise<Result<Download, "adapter_not_found" | "export_not_found" | "export_not_ready">> {
  return format === "peft" ? zipAdapter(ctx, adapterId) : openExport(ctx, adapterId, format);
}

/** The files of a PEFT folder; card and grove.json as they are true now. Null: the weights are gone. */
export async function openAdapterFiles(
  ctx: Pick<Services, "db" | "storage" | "settings">,
  row: VersionRow,
): Promise<AdapterFile[] | null> {
  const files: AdapterFile[] = [];
  for (const name of adapterFileNames) {
    const file = await openOne(ctx, row, name);
    if (file === null) {
      for (const { stream } of files) stream.destroy();
      return null;
    }
    files.push({ name, ...file });
  }
  return files;
}

/** One file of a version, by its name; of a checkpoint, the two that it is served from. */
export async function readAdapterFile(
  ctx: OrgCtx,
  adapterId: string,
  name: AdapterFileName,
): Promise<Result<AdapterFile, "adapter_not_found">> {
  if (name !== "README.md" && name !== "grove.json") {
    const found = await findServable(ctx, adapterId);
    if (!found.ok || found.value === null)
      return fail("adapter_not_found", `There is no adapter ${quote(adapterId)} in this organisation.`);
    const file = await openAdapterFile(ctx, found.value.sha256, name);
    return file === null ? gone(adapterId) : ok({ name, ...file });
  }
  const version = await findVersion(ctx, adapterId);
  if (!version.ok) return version;
  const file = await openOne(ctx, version.value, name);
  return file === null ? gone(adapterId) : ok({ name, ...file });
}

async function openOne(
  ctx: Pick<Services, "db" | "storage" | "settings">,
  row: VersionRow,
  name: AdapterFileName,
): Promise<Omit<AdapterFile, "name"> | null> {
  if (name !== "README.md" && name !== "grove.json") return openAdapterFile(ctx, row.sha256, name);
  const text = Buffer.from(name === "README.md" ? await readCard(ctx, row) : await readGroveFile(ctx, row));
  return { bytes: text.byteLength, stream: Readable.from([text]) };
}

async function zipAdapter(ctx: OrgCtx, adapterId: string): Promise<Result<Download, "adapter_not_found">> {
  const version = await findVersion(ctx, adapterId);
  if (!version.ok) return version;
  const { createdAt: mtime, repository, version: number } = version.value;
  const folder = `${repository.name}-${number}`;
  const files = await openAdapterFiles(ctx, version.value);
  if (files === null) return gone(adapterId);
  const zip = new ZipFile();
  for (const { name, bytes: size, stream } of files)
    zip.addReadStream(stream, `${folder}/${name}`, { mtime, size, compress: false }); // its length is known beforehand
  const packed = await finishZip(
    zip,
    files.map((file) => file.stream),
  );
  return ok({ fileName: `${folder}.zip`, contentType: "application/zip", ...packed });
}

async function openExport(
  ctx: OrgCtx,
  adapterId: string,
  kind: ExportKind,
): Promise<Result<Download, "adapter_not_found" | "export_not_found" | "export_not_ready">> {
  const found = await findExport(ctx, adapterId, kind);
  if (!found.ok) return found;
  const { id, fileName, status } = found.value;
  const key = exportKey(id, fileName);
  const [head, stream] = await Promise.all([ctx.storage.head(key), ctx.storage.get(key)]);
  if (status !== "ready" || head === null || stream === null)
    return fail(
      "export_not_ready",
      status === "failed"
        ? `It could not be made: ${found.value.message ?? "no reason was given"}. Ask for it again.`
        : status === "ready"
          ? "Its file is no longer in the object store. Ask for it again, and it is made anew."
          : "It is still being made. Try again in a while.",
    );
  return ok({ fileName, contentType: exportContentTypes[kind], bytes: head.bytes, stream });
}

function gone(adapterId: string): Result<never, "adapter_not_found"> {
  return fail("adapter_not_found", `The files of "${adapterId}" are no longer in the object store.`);
}
