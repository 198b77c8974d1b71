import { fail, ok, type Result } from "@grove/contracts/errors";
import { type JobConfig, jobConfig } from "@grove/contracts/jobs";
import { adapterId, splitAdapterId } from "@grove/contracts/names";
import type { OrgCtx } from "../context.ts";

/** A version, or a checkpoint, which has no version yet. */
export type Servable = { versionId: string | null; id: string; sha256: string; bytes: number; config: JobConfig };

/** By its id, inside the organisation. Null: there is none. Whatever the text may be, it only ever meets a database query. */
export async function findServable(
  ctx: Pick<OrgCtx, "db" | "orgId">,
  id: string,
): Promise<Result<Servable | null, "invalid_input">> {
  if (!adapterId.safeParse(id).success)
    return fail(
      "invalid_input",
      `${quote(id)} is not an adapter id: write repository/version, for example support-intents/1.`,
      { field: "adapter_id" },
    );
  const { repository, name, version } = splitAdapterId(id);
  const where = { repository: { orgId: ctx.orgId, name: repository } };
  if (version !== null) {
    const row = await ctx.db.adapterVersion.findFirst({ where: { ...where, version } });
    if (row === null) return ok(null);
    const { id: versionId, sha256, bytes } = row;
    return ok({ versionId, id, sha256, bytes: Number(bytes), config: jobConfig.parse(row.config) });
  }
  const row = await ctx.db.adapterCheckpoint.findFirst({
    where: { ...where, name },
    include: { job: { select: { config: true } } },
  });
  if (row === null) return ok(null);
  const { sha256, bytes, job } = row;
  return ok({ versionId: null, id, sha256, bytes: Number(bytes), config: jobConfig.parse(job.config) });
}

/** Text of a caller, cut short and free of control characters, for a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
