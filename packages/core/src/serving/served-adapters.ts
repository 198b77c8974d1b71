import { fail, ok, type Result } from "@grove/contracts/errors";
import type { ServedAdaptersView } from "@grove/contracts/serving";
import type { OrgCtx } from "../context.ts";
import { upstreamOf } from "./upstreams/choose.ts";
import type { UpstreamError } from "./upstreams/upstream.ts";

const TIMEOUT_MS = 5_000;

/** What the base's model server holds of this organisation's adapters right now. */
export async function listServedAdapters(ctx: OrgCtx): Promise<Result<ServedAdaptersView, UpstreamError>> {
  const upstream = upstreamOf(ctx.settings, ctx.settings.baseModel.id);
  const adapters = await upstream
    .adapters(ctx, AbortSignal.timeout(TIMEOUT_MS))
    .catch(() =>
      fail("serving_unavailable", "The model server did not answer in time. Prompts may still be answered."),
    );
  return adapters.ok ? ok({ server: upstream.kind, adapters: adapters.value }) : adapters;
}
