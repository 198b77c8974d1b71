import { setTimeout as sleep } from "node:timers/promises";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { OrgCtx } from "../context.ts";
import type { RoutedAdapter } from "./authorize.ts";

export type ServingCall = {
  method: "GET" | "POST";
  path: string;
  body?: unknown;
  adapters?: RoutedAdapter[];
};

/** While serving restarts, callers wait this long before they hear of it. */
export const patienceMs = 15_000; // a base model is loaded in 3 to 10 s
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;

/**
 * One call in the LoRAX protocol (contracts README §3). Any answer but "not there" is returned as it is. Nothing has reached
 * the caller before the answer's head, so a connection lost before it is tried again: the prompt is then answered once, late.
 */
export async function callServing(
  ctx: OrgCtx,
  call: ServingCall,
  signal: AbortSignal,
  patience: number = patienceMs,
): Promise<Result<Response, "serving_unavailable">> {
  const until = Date.now() + patience;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    const response = await attempt(ctx, call, signal);
    if (response !== null && response.status !== 503) return ok(response);
    await response?.body?.cancel();
    if (Date.now() + pause > until) {
      return fail(
        "serving_unavailable",
        "The model server is not answering: it may be starting. Try again in a few seconds.",
      );
    }
    await sleep(pause, undefined, { signal });
  }
}

async function attempt(ctx: OrgCtx, call: ServingCall, signal: AbortSignal): Promise<Response | null> {
  try {
    return await fetch(new URL(call.path, ctx.settings.servingUrl), {
      method: call.method,
      headers: headersFor(ctx, call),
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      signal,
    });
  } catch (error) {
    if (signal.aborted || !(error instanceof TypeError)) throw error;
    return null; // fetch says TypeError for every failure of the network
  }
}

function headersFor(ctx: OrgCtx, call: ServingCall): Record<string, string> {
  const headers: Record<string, string> = {
    authorization: `Bearer ${ctx.settings.internalSecret}`,
    "x-grove-tenant": ctx.orgSlug,
  };
  if (call.body !== undefined) headers["content-type"] = "application/json";
  const adapters = call.adapters ?? [];
  if (adapters.length > 0) {
    headers["x-grove-adapter"] = adapters.map((a) => `${a.id}@${a.sha256};format=${a.promptFormat}`).join(",");
  }
  return headers;
}

/**
 * True if the engine says that it used exactly the adapters that were asked for. A prompt for an adapter is never answered
 * with the base, nor with other weights under the same name.
 */
export function usedAdapters(headers: Headers, adapters: RoutedAdapter[]): boolean {
  const wanted = adapters.map((a) => `${a.id}@${a.sha256}`).join(",");
  const used = (headers.get("x-grove-adapter") ?? "").replaceAll(" ", "");
  return used === wanted;
}
