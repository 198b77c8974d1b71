import type { ResolvedAdapter } from "@grove/contracts/adapters";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { OrgCtx } from "../context.ts";
import { findServable, quote } from "./servable.ts";

/** What serving needs to load an adapter: its content's hash and how its prompts were formed. */
export async function resolveAdapter(
  ctx: Pick<OrgCtx, "db" | "orgId" | "orgSlug">,
  id: string,
): Promise<Result<ResolvedAdapter, "adapter_not_found">> {
  const found = await findServable(ctx, id);
  if (!found.ok) return fail("adapter_not_found", found.message);
  if (found.value === null) return fail("adapter_not_found", `There is no adapter ${quote(id)} in this organisation.`);
  const { sha256, bytes, config } = found.value;
  return ok({
    tenant: ctx.orgSlug,
    id,
    sha256,
    prompt_format: config.promptFormat,
    bytes,
    base_model: config.baseModel,
  });
}
