import type { AdapterVersionView, RepositoryView } from "@grove/contracts/adapters";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { adapterId as adapterIdSchema, splitAdapterId } from "@grove/contracts/names";
import type { Page, PageInput } from "@grove/contracts/pages";
import type { Prisma } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { toPage } from "../pages.ts";
import { toVersionView, type VersionRow, versionParts } from "./view.ts";

const repositoryParts = {
  versions: { include: versionParts, orderBy: { version: "desc" } },
} satisfies Prisma.RepositoryInclude;
type RepositoryRow = Prisma.RepositoryGetPayload<{ include: typeof repositoryParts }>;

export async function listRepositories(ctx: OrgCtx, input: PageInput): Promise<Page<RepositoryView>> {
  const rows = await ctx.db.repository.findMany({
    where: { orgId: ctx.orgId, ...(input.cursor ? { id: { lt: input.cursor } } : {}) },
    include: repositoryParts,
    orderBy: { id: "desc" },
    take: input.limit + 1,
  });
  return toPage(rows, input.limit, toRepositoryView);
}

export async function getRepository(ctx: OrgCtx, name: string): Promise<Result<RepositoryView, "adapter_not_found">> {
  const row = await ctx.db.repository.findUnique({
    where: { orgId_name: { orgId: ctx.orgId, name } },
    include: repositoryParts,
  });
  return row
    ? ok(toRepositoryView(row))
    : fail("adapter_not_found", `There is no repository "${name}" in this organisation.`);
}

export async function listAdapters(ctx: OrgCtx): Promise<AdapterVersionView[]> {
  const rows = await ctx.db.adapterVersion.findMany({
    where: { orgId: ctx.orgId },
    include: versionParts,
    orderBy: { id: "desc" },
  });
  return rows.map(toVersionView);
}

export async function getAdapter(
  ctx: OrgCtx,
  adapterId: string,
): Promise<Result<AdapterVersionView, "adapter_not_found">> {
  const row = await findVersion(ctx, adapterId);
  return row.ok ? ok(toVersionView(row.value)) : row;
}

/** By `repository/version`, inside the organisation. Whatever else the text may be, it only ever meets a database query. */
export async function findVersion(
  ctx: Pick<OrgCtx, "db" | "orgId">,
  adapterId: string,
): Promise<Result<VersionRow, "adapter_not_found">> {
  const parsed = adapterIdSchema.safeParse(adapterId);
  if (!parsed.success)
    return fail(
      "adapter_not_found",
      `"${adapterId.slice(0, 100)}" is not an adapter id. An adapter id is repository/version, for example support-intents/1.`,
    );
  const { repository: name, version } = splitAdapterId(parsed.data);
  const row =
    version === null // a checkpoint is no version
      ? null
      : await ctx.db.adapterVersion.findFirst({
          where: { orgId: ctx.orgId, version, repository: { name } },
          include: versionParts,
        });
  return row ? ok(row) : fail("adapter_not_found", `There is no adapter "${adapterId}" in this organisation.`);
}

function toRepositoryView(row: RepositoryRow): RepositoryView {
  return {
    id: row.id,
    name: row.name,
    baseModel: row.baseModel,
    createdAt: row.createdAt,
    versions: row.versions.map(toVersionView),
  };
}
