import type { ResolvedAdapter } from "@grove/contracts/adapters";
import { ok, type Result } from "@grove/contracts/errors";
import { jobConfig } from "@grove/contracts/jobs";
import type { OrgCtx } from "../context.ts";
import { findVersion } from "./read.ts";

/** What serving needs to load an adapter: its content's hash and how its prompts were formed. */
export async function resolveAdapter(
  ctx: Pick<OrgCtx, "db" | "orgId" | "orgSlug">,
  id: string,
): Promise<Result<ResolvedAdapter, "adapter_not_found">> {
  const row = await findVersion(ctx, id);
  if (!row.ok) return row;
  const { sha256, bytes, config, repository, version } = row.value;
  return ok({
    tenant: ctx.orgSlug,
    id: `${repository.name}/${version}`,
    sha256,
    prompt_format: jobConfig.parse(config).promptFormat,
    bytes: Number(bytes),
    base_model: repository.baseModel,
  });
}
