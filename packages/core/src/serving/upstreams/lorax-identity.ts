import { z } from "zod";
import type { OrgCtx } from "../../context.ts";
import type { Route } from "../authorize.ts";
import { identityHeaders } from "./native-answer.ts";
import { pbaseName, pbaseToken } from "./pbase-names.ts";
import type { Asked } from "./upstream.ts";

export type LoraxPost = (path: string, body: unknown) => Asked<Response>;

/** Who a LoRAX is to answer as. */
export function adapterParameters(ctx: OrgCtx, route: Route, merged: unknown): Record<string, unknown> {
  const names = route.adapters.map(pbaseName);
  const [only] = names;
  if (only === undefined) return {};
  const source = { adapter_source: "pbase", api_token: pbaseToken(ctx.settings.internalSecret, ctx.orgSlug) };
  const merge = z.looseObject({}).safeParse(merged);
  if (merge.success) return { ...source, merged_adapters: { ...merge.data, ids: names } };
  return { ...source, adapter_id: only };
}

/**
 * LoRAX's headers under the names of the caller. It tells by `x-adapter-id` which adapters answered; since the id holds the
 * content's hash, that is which weights.
 */
export function confirmed(headers: Headers, route: Route): Headers {
  const shown = new Headers(headers);
  const used = (headers.get("x-adapter-id") ?? "").replaceAll(" ", "");
  if (used !== route.adapters.map(pbaseName).join(",")) {
    shown.set("x-grove-adapter", unconfirmed);
    return shown;
  }
  for (const [name, value] of identityHeaders(route)) shown.set(name, value);
  return shown;
}

/** No adapter's label, so the road's guard refuses it. */
export const unconfirmed = "unconfirmed";
