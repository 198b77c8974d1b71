import { fail, ok, type Result } from "@grove/contracts/errors";
import type { OrgCtx } from "../../context.ts";
import type { Route } from "../authorize.ts";
import { countWithBase } from "./count.ts";
import { bearer, callServer, isHealthy, traceOf } from "./http.ts";
import { identityHeaders } from "./native-answer.ts";
import { readNative, refuseParameters, unsupported } from "./native-parameters.ts";
import { callFor, nativeFromOpenAi } from "./openai-native.ts";
import { openAiFields, passOpenAi } from "./openai-pass.ts";
import type { ModelCheck } from "./openai-stream.ts";
import { asWritten } from "./raw-chat.ts";
import type { SettingOf } from "./setting.ts";
import {
  type Asked,
  contentName,
  type PromptRequest,
  type Question,
  type Upstream,
  type UpstreamAnswer,
} from "./upstream.ts";

const besidesOpenAi = ["best_of", "suffix", "top_k", "repetition_penalty", "ignore_eos_token"];

type Named = { model: string; isRight: ModelCheck };

/** Any server that speaks OpenAI's protocol: the base, and the adapters that the setting maps to models there. */
export function openAiUpstream(setting: SettingOf<"openai">, base: { id: string; path: string }): Upstream {
  const headers = bearer(setting.apiKey);

  function named(ctx: OrgCtx, route: Route): Result<Named, "upstream_unsupported"> {
    const [adapter, second] = route.adapters;
    if (second) return unsupported("openai", "merged_adapters");
    if (!adapter) return ok({ model: setting.model ?? base.id, isRight: null });
    const name = contentName(ctx, adapter);
    const model = setting.adapters[name];
    if (model !== undefined) return ok({ model, isRight: (answered) => isNamed(answered, model) });
    return fail(
      "upstream_unsupported",
      `${adapter.id} is not served here: the deployment's server has the base model alone, and GROVE_UPSTREAMS maps no model to ${name}.`,
      { field: "adapter_id" },
    );
  }

  async function send(path: string, body: Record<string, unknown>, request: PromptRequest, signal: AbortSignal) {
    const { max_tokens, ...rest } = body;
    const field = path === "/chat/completions" ? setting.limitField : "max_tokens";
    const limited = max_tokens === undefined ? rest : { ...rest, [field]: max_tokens };
    const call = { path, body: limited, headers: { ...traceOf(request), ...headers } };
    return callServer(setting.url, { method: "POST", ...call }, signal);
  }

  async function native(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer> {
    const started = performance.now();
    const read = readNative(request.path, request.body);
    if (!read.ok) return read;
    const call = callFor(read.value);
    if (!call.ok) return call;
    const who = named(ctx, request.route);
    if (!who.ok) return who;
    const body = { ...call.value.body, model: who.value.model };
    const sent = await send(call.value.path, body, request, signal);
    if (!sent.ok) return sent;
    const { model: asked, isRight } = who.value;
    const { route } = request;
    const context = { prompt: read.value, route, asked, isRight, headers: identityHeaders(route), started };
    return nativeFromOpenAi(sent.value, context);
  }

  async function openAi(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer> {
    const refused = refuseParameters("openai", request.body, besidesOpenAi);
    if (refused) return refused;
    const who = named(ctx, request.route);
    if (!who.ok) return who;
    const raw = asWritten(request);
    if (raw !== null && (raw.body.max_tokens ?? null) === null)
      return unsupported("openai", "max_tokens", "is needed here: this server's completions stop after 16 tokens");
    const { model: asked, isRight } = who.value;
    const path = raw === null ? request.path.replace(/^\/v1/, "") : "/completions";
    const sent = await send(path, { ...openAiFields(raw?.body ?? request.body), model: asked }, request, signal);
    if (!sent.ok) return sent;
    const shown = request.route.adapters[0]?.id ?? base.id;
    const identity = identityHeaders(request.route);
    return passOpenAi({ response: sent.value, asked, shown, isRight, asChat: raw !== null, headers: identity });
  }

  return {
    kind: "openai",
    healthy: (signal) => isHealthy(setting.url, "/models", headers, signal),

    async prompt(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer> {
      if (request.dialect === "native") return native(ctx, request, signal);
      if (request.dialect === "openai") return openAi(ctx, request, signal);
      return unsupported(
        "openai",
        "continuations",
        "can't be scored: this server tells no log-probabilities of a prompt",
      );
    },

    async ask(_ctx: OrgCtx, question: Question, signal: AbortSignal): Asked<Response> {
      if (question.path === "/tokenize")
        return unsupported("openai", "/tokenize", "is not part of the protocol of this server");
      if (question.path === "/info") return ok(Response.json({ model_id: base.id }));
      const alive = await isHealthy(setting.url, "/models", headers, signal);
      if (alive) return ok(new Response(null, { status: 200 }));
      return ok(Response.json({ error: "unhealthy", error_type: "healthcheck" }, { status: 503 }));
    },

    async countTokens(_ctx, text, what) {
      if (setting.countTokens === "refuse") return null;
      return countWithBase(base.path, text, what);
    },

    adapters: async () => ok(null),
  };
}

/** Servers answer with the dated name of what was asked by its short one: `gpt-5` as `gpt-5-2025-08-07`. */
function isNamed(answered: string | null | undefined, asked: string): boolean {
  return answered === asked || (answered ?? "").replace(/-\d{4}-\d{2}-\d{2}$/, "") === asked;
}
