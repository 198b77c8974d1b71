import { fail, ok, type Result } from "@grove/contracts/errors";
import { jobConfig, type PromptFormat } from "@grove/contracts/jobs";
import { adapterId } from "@grove/contracts/names";
import type { OrgCtx } from "../context.ts";

/** An adapter that this organisation may use, as serving is told about it. */
export type RoutedAdapter = { versionId: string; id: string; sha256: string; promptFormat: PromptFormat };
/** Where a prompt goes: the base alone, or with one adapter, or with several merged into one. */
export type Route = { baseModel: string; adapters: RoutedAdapter[] };

export type RouteError = "adapter_not_found" | "base_model_not_found" | "invalid_input";

/**
 * The permission check of every prompt. Another organisation's adapter and one that does not exist get the same answer;
 * an id of another form than `repository/version` never reaches a database, a disk or serving.
 */
export async function authorizeRoute(
  ctx: OrgCtx,
  baseModel: string,
  adapterIds: string[],
): Promise<Result<Route, RouteError>> {
  if (baseModel !== ctx.settings.baseModel.id) {
    return fail(
      "base_model_not_found",
      `No base model named ${quote(baseModel)} is served here; it is ${ctx.settings.baseModel.id}.`,
    );
  }
  const adapters: RoutedAdapter[] = [];
  for (const id of adapterIds) {
    const adapter = await authorizeAdapter(ctx, id);
    if (!adapter.ok) return adapter;
    adapters.push(adapter.value);
  }
  return ok({ baseModel, adapters });
}

async function authorizeAdapter(
  ctx: OrgCtx,
  id: string,
): Promise<Result<RoutedAdapter, "adapter_not_found" | "invalid_input">> {
  if (!adapterId.safeParse(id).success) {
    return fail(
      "invalid_input",
      `${quote(id)} is not an adapter id: write repository/version, for example support-intents/1.`,
      {
        field: "adapter_id",
      },
    );
  }
  const [name = "", version = ""] = id.split("/");
  const row = await ctx.db.adapterVersion.findFirst({
    where: { orgId: ctx.orgId, version: Number(version), repository: { name } },
    select: { id: true, sha256: true, config: true },
  });
  if (!row) {
    return fail("adapter_not_found", `There is no adapter ${quote(id)} in the organisation ${ctx.orgSlug}.`, {
      field: "adapter_id",
    });
  }
  const config = jobConfig.parse(row.config);
  if (config.baseModel !== ctx.settings.baseModel.id) {
    return fail(
      "invalid_input",
      `The adapter ${id} belongs to the base model ${config.baseModel}; ${ctx.settings.baseModel.id} is served here.`,
      {
        field: "adapter_id",
      },
    );
  }
  return ok({ versionId: row.id, id, sha256: row.sha256, promptFormat: config.promptFormat });
}

/** Text of a caller, cut short and free of control characters, for a message. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
