import type { DatasetView } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Page, PageInput } from "@grove/contracts/pages";
import type { Dataset } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { toPage } from "../pages.ts";
import { toDatasetView } from "./view.ts";

export async function listDatasets(ctx: OrgCtx, input: PageInput): Promise<Page<DatasetView>> {
  const rows = await ctx.db.dataset.findMany({
    where: { orgId: ctx.orgId, ...(input.cursor ? { id: { lt: input.cursor } } : {}) },
    orderBy: { id: "desc" },
    take: input.limit + 1,
  });
  return toPage(rows, input.limit, toDatasetView);
}

export async function getDataset(ctx: OrgCtx, id: string): Promise<Result<DatasetView, "dataset_not_found">> {
  const row = await findDataset(ctx, id);
  return row.ok ? ok(toDatasetView(row.value)) : row;
}

export async function findDataset(ctx: OrgCtx, id: string): Promise<Result<Dataset, "dataset_not_found">> {
  const row = await ctx.db.dataset.findFirst({ where: { id, orgId: ctx.orgId } });
  return row ? ok(row) : fail("dataset_not_found", "There is no such data set in this organisation.");
}

/** A data set that a job or an evaluation was made from stays: their results would mean nothing without it. */
export async function deleteDataset(
  ctx: OrgCtx,
  id: string,
): Promise<Result<null, "dataset_not_found" | "dataset_in_use">> {
  const row = await findDataset(ctx, id);
  if (!row.ok) return row;
  const { count } = await ctx.db.dataset.deleteMany({
    where: { id, orgId: ctx.orgId, jobs: { none: {} }, evals: { none: {} } },
  });
  if (count === 0)
    return fail(
      "dataset_in_use",
      `"${row.value.name}" was used by a job or an evaluation, so it is kept as their record.`,
    );
  await ctx.storage.deletePrefix(`datasets/${id}/`);
  return ok(null);
}
