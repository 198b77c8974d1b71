import { ok } from "@grove/contracts/errors";
import type { ServedAdapterView } from "@grove/contracts/serving";
import { servedAdapters } from "@grove/contracts/serving";
import type { OrgCtx } from "../../context.ts";
import type { RoutedAdapter } from "../authorize.ts";
import { readEvents } from "../sse.ts";
import { countWithServer } from "./count.ts";
import { callServer, isHealthy, isStream, readBody } from "./http.ts";
import type { SettingOf } from "./setting.ts";
import type { Asked, PromptRequest, Question, Upstream, UpstreamAnswer } from "./upstream.ts";

/** Our own engine (contracts README §3): it takes both dialects as they are, and names the adapter's content in its answer. */
export function groveUpstream({ url }: Pick<SettingOf<"grove">, "url">): Upstream {
  return {
    kind: "grove",
    healthy: (signal) => isHealthy(url, "/health", {}, signal),

    async prompt(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer> {
      const headers = { ...request.passed, ...trusted(ctx), ...named(request.route.adapters) };
      const sent = await callServer(url, { method: "POST", path: request.path, body: request.body, headers }, signal);
      if (!sent.ok) return sent;
      const head = { status: sent.value.status, headers: sent.value.headers };
      if (isStream(sent.value))
        return ok({ ...head, kind: "stream", events: readEvents(sent.value.body), eventsAreTokens: true });
      return ok({ ...head, kind: "whole", body: await readBody(sent.value) });
    },

    async ask(ctx: OrgCtx, question: Question, signal: AbortSignal): Asked<Response> {
      const method = question.path === "/tokenize" ? "POST" : "GET";
      const call = { headers: trusted(ctx), ...question, method } as const;
      return callServer(url, call, signal);
    },

    countTokens: (ctx, text) => countWithServer(url, text, trusted(ctx)),

    async adapters(ctx: OrgCtx, signal: AbortSignal): Asked<ServedAdapterView[] | null> {
      const answer = await callServer(url, { method: "GET", path: "/adapters", headers: trusted(ctx) }, signal, 0);
      if (!answer.ok) return answer;
      const listed = servedAdapters.parse(await readBody(answer.value)).adapters;
      return ok(listed.filter((one) => one.tenant === ctx.orgSlug).map(({ tenant: _tenant, ...view }) => view));
    },
  };
}

function trusted(ctx: OrgCtx): Record<string, string> {
  return { authorization: `Bearer ${ctx.settings.internalSecret}`, "x-grove-tenant": ctx.orgSlug };
}

function named(adapters: RoutedAdapter[]): Record<string, string> {
  if (adapters.length === 0) return {};
  return { "x-grove-adapter": adapters.map((a) => `${a.id}@${a.sha256};format=${a.promptFormat}`).join(",") };
}
