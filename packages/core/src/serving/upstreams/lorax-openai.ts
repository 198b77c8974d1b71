import { randomUUID } from "node:crypto";
import { ok, type Result } from "@grove/contracts/errors";
import { z } from "zod";
import { readEvents } from "../sse.ts";
import { HoldBack, withoutStop } from "./hold-back.ts";
import { isStream, readBody } from "./http.ts";
import { confirmed, type LoraxPost } from "./lorax-identity.ts";
import { refuseParameters, unsupported } from "./native-parameters.ts";
import { anyAnswer, tokensOf, unreadable } from "./openai-wire.ts";
import { pbaseName } from "./pbase-names.ts";
import { asWritten, chatChunks, chatFromCompletion } from "./raw-chat.ts";
import type { Asked, PromptRequest, UpstreamAnswer, UpstreamEvent } from "./upstream.ts";

// LoRAX ignores these, or answers them wrongly (router/src/lib.rs and server.rs at a7394ba)
const inexpressible = ["n", "best_of", "logprobs", "logit_bias", "suffix"];
const choiceByName = z.object({ function: z.object({ name: z.string() }) });

type Shown = { id: string; created: number; model: string; object: string };

/** OpenAI's routes over LoRAX's own, whose answers differ from OpenAI's in many small things. */
export async function loraxOpenAi(request: PromptRequest, token: string, post: LoraxPost): Asked<UpstreamAnswer> {
  const raw = asWritten(request);
  const asked = raw?.body ?? request.body;
  const chat = request.path === "/v1/chat/completions";
  const body = inLoraxWords(asked, chat && raw === null);
  if (!body.ok) return body;
  const [adapter] = request.route.adapters;
  const identity = adapter ? { model: pbaseName(adapter), adapter_source: "pbase", api_token: token } : { model: "" };
  const path = raw === null ? request.path : "/v1/completions";
  const sent = await post(path, { ...body.value, ...identity });
  if (!sent.ok) return sent;
  const { status } = sent.value;
  const headers = confirmed(sent.value.headers, request.route);
  const stops = z.array(z.string()).safeParse(asked.stop).data ?? [];
  const shown = {
    id: `${chat ? "chatcmpl" : "cmpl"}-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: adapter?.id ?? request.route.baseModel,
    object: raw === null && chat ? "chat.completion" : "text_completion",
  };
  if (isStream(sent.value)) {
    const chunks = openAiChunks(readEvents(sent.value.body), shown, stops);
    const events = raw === null ? chunks : chatChunks(chunks);
    return ok({ kind: "stream", status, headers, events, eventsAreTokens: true });
  }
  const answer = await readBody(sent.value);
  if (status >= 300) return ok({ kind: "whole", status, headers, body: answer });
  const parsed = wholeAnswer.safeParse(answer);
  if (!parsed.success) return unreadable();
  const choices = parsed.data.choices.map((choice) => wholeChoice(choice, stops));
  const shownBody = { ...parsed.data, ...shown, choices };
  return ok({ kind: "whole", status, headers, body: raw === null ? shownBody : chatFromCompletion(shownBody) });
}

function inLoraxWords(
  body: Record<string, unknown>,
  chat: boolean,
): Result<Record<string, unknown>, "upstream_unsupported"> {
  const refused = refuseParameters("lorax", body, inexpressible);
  if (refused) return refused;
  const { stream_options: _usage, tool_choice, temperature, top_p, top_k, ...rest } = body;
  if (typeof body.prompt !== "string" && !chat) return unsupported("lorax", "prompt", "has to be one text for LoRAX");
  if (Array.isArray(body.tools) && body.tools.length > 0 && body.stream === true)
    return unsupported("lorax", "tools", "can't be streamed by LoRAX");
  const choice = choiceByName.safeParse(tool_choice).data?.function.name ?? tool_choice;
  if (choice === "required") return unsupported("lorax", "tool_choice", "has to be auto, none or a function for LoRAX");
  // OpenAI samples unless the temperature is 0; LoRAX samples where any of these is there
  const sampling =
    temperature === 0 ? (chat ? { temperature: 0 } : {}) : { temperature: temperature ?? 1, top_p, top_k };
  const given = Object.entries({ ...rest, ...sampling, tool_choice: choice });
  return ok(Object.fromEntries(given.filter(([, value]) => value !== null && value !== undefined)));
}

const text = z.string().nullish();
const message = z.looseObject({ content: text, tool_calls: z.array(z.looseObject({})).nullish() });
const choice = z.looseObject({ index: z.int(), text, message: message.nullish(), finish_reason: text });
const wholeAnswer = z.looseObject({ choices: z.array(choice) });

/** LoRAX calls the end by a stop sequence `content_filter`, keeps the sequence, and calls tool calls `stop`. */
function wholeChoice(found: z.infer<typeof choice>, stops: string[]) {
  const stopped = found.finish_reason === "content_filter";
  const cut = (written: string | null | undefined) => (stopped ? withoutStop(written ?? "", stops) : (written ?? null));
  const finish_reason = found.message?.tool_calls ? "tool_calls" : stopped ? "stop" : found.finish_reason;
  if (!found.message) return { ...found, text: cut(found.text) ?? "", finish_reason };
  return { ...found, message: { ...found.message, content: cut(found.message.content) }, finish_reason };
}

const streamChoice = z.looseObject({ text, delta: z.looseObject({ content: text }).nullish(), finish_reason: text });

/** One chunk a token, the counts in the last one: those become a chunk of their own, as OpenAI sends them. */
async function* openAiChunks(
  events: AsyncIterable<UpstreamEvent>,
  shown: Shown,
  stops: string[],
): AsyncGenerator<UpstreamEvent> {
  const hold = new HoldBack(stops);
  const object = shown.object === "chat.completion" ? "chat.completion.chunk" : shown.object;
  for await (const event of events) {
    const parsed = anyAnswer.safeParse(event.json);
    const found = streamChoice.safeParse(parsed.data?.choices[0]);
    if (!parsed.success || !found.success) {
      if (event.json !== undefined) yield event; // an error
      continue;
    }
    const end = found.data.finish_reason;
    const stopped = end === "content_filter";
    const piece = found.data.text ?? found.data.delta?.content ?? "";
    const written = end ? hold.finish(piece, stopped) : hold.add(piece);
    const finish_reason = stopped ? "stop" : (end ?? null);
    const content = shown.object === "chat.completion" ? { delta: { content: written } } : { text: written };
    const json = { ...shown, object, choices: [{ index: 0, ...content, finish_reason, logprobs: null }] };
    yield { data: JSON.stringify(json), json };
    const tokens = end ? tokensOf(parsed.data) : null;
    if (!tokens) continue;
    const last = { ...shown, object, choices: [], usage: parsed.data.usage };
    yield { data: JSON.stringify(last), json: last, tokens };
  }
}
