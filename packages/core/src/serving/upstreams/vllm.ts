import { ok } from "@grove/contracts/errors";
import type { ServedAdapterView } from "@grove/contracts/serving";
import { z } from "zod";
import type { OrgCtx } from "../../context.ts";
import { countWithBase } from "./count.ts";
import { bearer, isHealthy } from "./http.ts";
import { identityHeaders } from "./native-answer.ts";
import { refuseParameters, unsupported } from "./native-parameters.ts";
import { openAiFields, passOpenAi } from "./openai-pass.ts";
import { asWritten } from "./raw-chat.ts";
import type { SettingOf } from "./setting.ts";
import type { Asked, PromptRequest, Question, Upstream, UpstreamAnswer } from "./upstream.ts";
import { vllmNative } from "./vllm-native.ts";
import { vllmScores } from "./vllm-score.ts";
import { VllmServer } from "./vllm-server.ts";

const modelList = z.looseObject({
  data: z.array(z.looseObject({ id: z.string(), max_model_len: z.int().nullish() })),
});

/** vLLM: OpenAI's routes, and adapters that are loaded while it runs, under names that hold their content. */
export function vllmUpstream(setting: SettingOf<"vllm">, base: { id: string; path: string }): Upstream {
  const server = new VllmServer(setting, base);
  return {
    kind: "vllm",
    healthy: (signal) => isHealthy(setting.url, "/health", bearer(setting.apiKey), signal),

    async prompt(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer> {
      if (request.dialect === "scores") return vllmScores(server, ctx, request, signal);
      if (request.dialect === "native") return vllmNative(server, ctx, request, signal);
      return vllmOpenAi(server, ctx, request, base.id, signal);
    },

    async ask(_ctx: OrgCtx, question: Question, signal: AbortSignal): Asked<Response> {
      if (question.path === "/tokenize")
        return unsupported("vllm", "/tokenize", "needs offsets, which vLLM does not give");
      const asked = await server.get(question.path === "/health" ? "/health" : "/v1/models", signal);
      if (!asked.ok) return asked;
      if (question.path === "/health") return ok(new Response(null, { status: 200 }));
      const length = modelList.safeParse(asked.value).data?.data[0]?.max_model_len ?? null;
      return ok(Response.json({ model_id: base.id, max_total_tokens: length, max_input_length: length && length - 1 }));
    },

    async countTokens(_ctx, text, what) {
      return countWithBase(base.path, text, what);
    },

    async adapters(ctx: OrgCtx, signal: AbortSignal): Asked<ServedAdapterView[] | null> {
      const asked = await server.get("/v1/models", signal, 0);
      if (!asked.ok) return asked;
      const names = modelList.safeParse(asked.value).data?.data.map((one) => one.id) ?? [];
      return ok(names.flatMap((name) => residentAs(ctx.orgSlug, name)));
    },
  };
}

async function vllmOpenAi(
  server: VllmServer,
  ctx: OrgCtx,
  request: PromptRequest,
  baseId: string,
  signal: AbortSignal,
): Asked<UpstreamAnswer> {
  const { body: given } = request;
  const refused = refuseParameters("vllm", given, ["best_of", "suffix"]);
  if (refused) return refused;
  if (given.echo === true && (given.logprobs ?? null) !== null)
    return unsupported("vllm", "logprobs", "can't be told of a prompt: leave out `echo`"); // it would end vLLM's engine
  const raw = asWritten(request);
  const chat = request.path === "/v1/chat/completions" && raw === null;
  const room = raw === null ? ok({}) : await roomFor(server, raw, signal);
  if (!room.ok) return room;
  const body = { ...neutral, ...inVllmWords(raw?.body ?? given), ...room.value };
  const path = chat ? "/v1/chat/completions" : "/v1/completions";
  const sent = await server.complete(ctx, request, path, body, signal);
  if (!sent.ok) return sent;
  const { model, response } = sent.value;
  return passOpenAi({
    response,
    asked: model,
    shown: request.route.adapters[0]?.id ?? baseId,
    isRight: (name) => name === model,
    asChat: raw !== null,
    headers: identityHeaders(request.route),
  });
}

// vLLM's own defaults are those of the model's generation_config.json; OpenAI's are these
const neutral = { temperature: 1, top_p: 1, top_k: 0, repetition_penalty: 1 };

function inVllmWords(body: Record<string, unknown>): Record<string, unknown> {
  return {
    ...openAiFields(body, ["top_k", "repetition_penalty"]),
    ...(body.ignore_eos_token === true ? { ignore_eos: true } : {}),
    ...(body.stream === true ? { stream_options: { include_usage: true, continuous_usage_stats: true } } : {}),
  };
}

/** A chat goes on to the end of the context where no limit is given; vLLM's completions stop after 16 tokens. */
async function roomFor(
  server: VllmServer,
  raw: { prompt: string; body: Record<string, unknown> },
  signal: AbortSignal,
): Asked<Record<string, unknown>> {
  if (raw.body.max_tokens !== undefined && raw.body.max_tokens !== null) return ok({});
  const tokenized = await server.tokenize(raw.prompt, "raw", signal);
  if (!tokenized.ok) return tokenized;
  return ok({ max_tokens: Math.max(1, tokenized.value.maxLength - tokenized.value.ids.length) });
}

/** The names of `contentName`; other organisations' are left out. */
function residentAs(orgSlug: string, name: string): ServedAdapterView[] {
  const [, org, adapterId = "", sha256 = ""] = /^([^/]+)\/([^@]+)@([0-9a-f]{64})$/.exec(name) ?? [];
  if (org !== orgSlug) return [];
  return [{ adapterId, sha256, state: "resident", rank: null, bytes: null, hits: null, lastUse: null, error: null }];
}
