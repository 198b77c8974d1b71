import { ok } from "@grove/contracts/errors";
import { z } from "zod";
import type { CoreSettings, OrgCtx } from "../../context.ts";
import { loadTokenCounter } from "../../datasets/tokens.ts";
import { readEvents } from "../sse.ts";
import { countWithServer } from "./count.ts";
import { callServer, isHealthy, isStream, readBody, traceOf } from "./http.ts";
import { adapterParameters, confirmed, type LoraxPost } from "./lorax-identity.ts";
import { loraxOpenAi } from "./lorax-openai.ts";
import { loraxScores } from "./lorax-score.ts";
import { pbaseToken } from "./pbase-names.ts";
import type { SettingOf } from "./setting.ts";
import type { Asked, PromptRequest, Question, Upstream, UpstreamAnswer } from "./upstream.ts";

const nativeBody = z.looseObject({ inputs: z.string(), parameters: z.looseObject({}).nullish() });

/** A stock LoRAX. It finds adapters through the gateway's `/v2/repos` and object store, under names that hold their content. */
export function loraxUpstream({ url }: SettingOf<"lorax">, settings: CoreSettings): Upstream {
  const { path: basePath } = settings.baseModel;

  async function native(ctx: OrgCtx, request: PromptRequest, post: LoraxPost): Asked<UpstreamAnswer> {
    const body = nativeBody.parse(request.body);
    const { apply_chat_template, adapter_id: _id, merged_adapters, ...parameters } = body.parameters ?? {};
    const counter = apply_chat_template === true ? await loadTokenCounter(basePath) : null;
    const sent = await post(request.path, {
      ...body,
      inputs: counter ? counter.turnWithoutBos(body.inputs) : body.inputs, // LoRAX accepts the parameter and ignores it
      parameters: { ...parameters, ...adapterParameters(ctx, request.route, merged_adapters) },
    });
    if (!sent.ok) return sent;
    const { status } = sent.value;
    const headers = confirmed(sent.value.headers, request.route);
    if (isStream(sent.value))
      return ok({ kind: "stream", status, headers, events: readEvents(sent.value.body), eventsAreTokens: true });
    return ok({ kind: "whole", status, headers, body: await readBody(sent.value) });
  }

  return {
    kind: "lorax",
    healthy: (signal) => isHealthy(url, "/health", {}, signal),

    async prompt(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer> {
      const headers = traceOf(request);
      const post: LoraxPost = (path, body) => callServer(url, { method: "POST", path, body, headers }, signal);
      if (request.dialect === "native") return native(ctx, request, post);
      const token = pbaseToken(ctx.settings.internalSecret, ctx.orgSlug);
      if (request.dialect === "openai") return loraxOpenAi(request, token, post);
      const counter = await loadTokenCounter(basePath);
      return loraxScores(request, adapterParameters(ctx, request.route, null), counter, post);
    },

    async ask(_ctx: OrgCtx, question: Question, signal: AbortSignal): Asked<Response> {
      return callServer(url, { ...question, method: question.path === "/tokenize" ? "POST" : "GET" }, signal);
    },

    countTokens: (_ctx, text) => countWithServer(url, text, {}),

    adapters: async () => ok(null), // LoRAX lists none
  };
}
