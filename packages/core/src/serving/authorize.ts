import type { PromptFormat } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { isServed } from "@grove/contracts/jobs";
import { findServable, quote, type Servable } from "../adapters/servable.ts";
import type { OrgCtx } from "../context.ts";

/** An adapter that this organisation may use, as serving is told about it. */
export type RoutedAdapter = Servable & { promptFormat: PromptFormat };
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
  const found = await findServable(ctx, id);
  if (!found.ok) return found;
  const adapter = found.value;
  if (adapter === null) {
    return fail("adapter_not_found", `There is no adapter ${quote(id)} in the organisation ${ctx.orgSlug}.`, {
      field: "adapter_id",
    });
  }
  const { config } = adapter;
  if (config.baseModel !== ctx.settings.baseModel.id) {
    return fail(
      "invalid_input",
      `The adapter ${id} belongs to the base model ${config.baseModel}; ${ctx.settings.baseModel.id} is served here.`,
      {
        field: "adapter_id",
      },
    );
  }
  if (!isServed(config))
    return fail(
      "invalid_input",
      `The adapter ${id} was trained with DoRA, which is not served from a shared base: download it, or take it merged into its base.`,
      { field: "adapter_id" },
    );
  return ok({ ...adapter, promptFormat: config.promptFormat });
}
