import { fail, ok, type Result } from "@grove/contracts/errors";
import { adapterExport } from "@grove/contracts/messages";
import {
  type ExportInput,
  type ExportKind,
  type ExportView,
  exportKinds,
  transferStatuses,
} from "@grove/contracts/transfers";
import type { AdapterExport } from "@grove/db";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";
import { findVersion } from "./read.ts";
import type { VersionRow } from "./view.ts";

export const exportContentTypes: Record<ExportKind, string> = {
  gguf: "application/octet-stream",
  merged: "application/zip",
};
const endings: Record<ExportKind, string> = { gguf: ".gguf", merged: "-merged.zip" };

export function exportKey(id: string, fileName: string): string {
  return `exports/${id}/${fileName}`;
}

export function exportFileName(repository: string, version: number, kind: ExportKind): string {
  return `${repository}-${version}${endings[kind]}`;
}

/** Asks a worker to make it. Asked for again, it is the same row: one that failed or lost its file is made anew. */
export async function requestExport(
  ctx: OrgCtx,
  { adapterId, kind }: ExportInput,
): Promise<Result<ExportView, "adapter_not_found" | "base_model_not_found">> {
  const version = await findVersion(ctx, adapterId);
  if (!version.ok) return version;
  const { id: versionId, repository } = version.value;
  if (repository.baseModel !== ctx.settings.baseModel.id)
    return fail(
      "base_model_not_found",
      `"${adapterId}" is an adapter of ${repository.baseModel}, and this installation now has ${ctx.settings.baseModel.id}.`,
    );
  const { db } = ctx;
  await db.adapterExport.createMany({
    data: [{ orgId: ctx.orgId, versionId, kind, status: "waiting" }],
    skipDuplicates: true,
  });
  const where = { versionId_kind: { versionId, kind } };
  const before = await db.adapterExport.findUniqueOrThrow({ where });
  if (before.status === "failed" || (before.status === "ready" && !(await hasFile(ctx, version.value, before))))
    await db.adapterExport.updateMany({
      where: { id: before.id, status: before.status },
      data: { status: "waiting", message: null, bytes: null, finishedAt: null, createdAt: new Date() },
    });
  const row = await db.adapterExport.findUniqueOrThrow({ where });
  if (row.status === "waiting") await ctx.queues.send(adapterExport, { exportId: row.id }); // where the queue is down the sweep sends it
  return ok(toExportView(version.value, row));
}

/** Of one version, those that were ever asked for. */
export async function listExports(ctx: OrgCtx, adapterId: string): Promise<Result<ExportView[], "adapter_not_found">> {
  const version = await findVersion(ctx, adapterId);
  if (!version.ok) return version;
  const rows = await ctx.db.adapterExport.findMany({
    where: { versionId: version.value.id },
    orderBy: { kind: "asc" },
  });
  return ok(rows.map((row) => toExportView(version.value, row)));
}

/** The row, then its file: a worker that is still making it finds no row and keeps nothing. */
export async function deleteExport(
  ctx: OrgCtx,
  input: ExportInput,
): Promise<Result<null, "adapter_not_found" | "export_not_found">> {
  const found = await findExport(ctx, input.adapterId, input.kind);
  if (!found.ok) return found;
  await ctx.db.adapterExport.deleteMany({ where: { id: found.value.id } });
  await ctx.storage.deletePrefix(`exports/${found.value.id}/`);
  return ok(null);
}

export async function findExport(
  ctx: OrgCtx,
  adapterId: string,
  kind: ExportKind,
): Promise<Result<ExportView & { id: string }, "adapter_not_found" | "export_not_found">> {
  const version = await findVersion(ctx, adapterId);
  if (!version.ok) return version;
  const row = await ctx.db.adapterExport.findUnique({
    where: { versionId_kind: { versionId: version.value.id, kind } },
  });
  return row === null
    ? fail("export_not_found", `"${adapterId}" has not been made into this form yet. Ask for it first.`)
    : ok({ id: row.id, ...toExportView(version.value, row) });
}

async function hasFile(ctx: OrgCtx, version: VersionRow, row: AdapterExport): Promise<boolean> {
  const name = exportFileName(version.repository.name, version.version, z.enum(exportKinds).parse(row.kind));
  return (await ctx.storage.head(exportKey(row.id, name))) !== null;
}

function toExportView(version: VersionRow, row: AdapterExport): ExportView {
  const kind = z.enum(exportKinds).parse(row.kind);
  return {
    adapterId: `${version.repository.name}/${version.version}`,
    kind,
    status: z.enum(transferStatuses).parse(row.status),
    fileName: exportFileName(version.repository.name, version.version, kind),
    bytes: row.bytes === null ? null : Number(row.bytes),
    message: row.message,
    createdAt: row.createdAt,
    finishedAt: row.finishedAt,
  };
}
