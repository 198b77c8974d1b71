import { ok, type Result } from "@grove/contracts/errors";
import type { Route } from "../authorize.ts";
import type { Tokens } from "../meter.ts";
import { refusalOf } from "../refusal.ts";
import { isStream, readBody } from "./http.ts";
import { countHeaders, fullText, type NativeEnd, type NativeToken, nativeBody, nativeEvent } from "./native-answer.ts";
import { type NativePrompt, refuseParameters, temperatureOf, unsupported } from "./native-parameters.ts";
import { type ModelCheck, openStream } from "./openai-stream.ts";
import { anotherModel, chatAnswer, completionAnswer, tokensOf, unreadable } from "./openai-wire.ts";
import type { Asked, UpstreamAnswer, UpstreamEvent } from "./upstream.ts";

const inexpressible = [
  "merged_adapters",
  "top_k",
  "typical_p",
  "repetition_penalty",
  "truncate",
  "watermark",
  "decoder_input_details",
  "return_k_alternatives",
  "best_of",
  "ignore_eos_token",
];

export type OpenAiCall = { path: "/chat/completions" | "/completions"; body: Record<string, unknown> };

/** LoRAX's prompt in OpenAI's words: a completion, or a chat of one turn where the template is asked for. */
export function callFor(prompt: NativePrompt): Result<OpenAiCall, "upstream_unsupported"> {
  const p = prompt.parameters;
  const refused = refuseParameters("openai", p, inexpressible);
  if (refused) return refused;
  if ((p.stop ?? []).length > 0) {
    return unsupported("openai", "stop", "is left out of the text by this server and kept by LoRAX: use /v1");
  }
  const chat = p.apply_chat_template === true;
  if (!chat && !p.max_new_tokens) {
    return unsupported("openai", "max_new_tokens", "is needed here: this server's completions stop after 16 tokens");
  }
  const format = p.response_format;
  if (format && format.type !== "text" && !chat) {
    return unsupported("openai", "response_format", "needs `apply_chat_template` on this server");
  }
  const body = {
    ...(chat ? { messages: [{ role: "user", content: prompt.inputs }] } : { prompt: prompt.inputs }),
    ...(p.max_new_tokens ? { max_tokens: p.max_new_tokens } : {}),
    temperature: temperatureOf(p),
    ...given({
      top_p: p.top_p,
      seed: p.seed,
      frequency_penalty: p.frequency_penalty,
      presence_penalty: p.presence_penalty,
    }),
    ...(format && format.type !== "text" ? { response_format: formatFor(format) } : {}),
    stream: prompt.stream,
    ...(prompt.stream ? { stream_options: { include_usage: true } } : {}),
  };
  return ok({ path: chat ? "/chat/completions" : "/completions", body });
}

function given(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}

function formatFor(format: NonNullable<NativePrompt["parameters"]["response_format"]>) {
  if (format.schema === undefined || format.schema === null) return { type: "json_object" };
  return { type: "json_schema", json_schema: { name: "answer", schema: format.schema } };
}

export type NativeContext = {
  prompt: NativePrompt;
  route: Route;
  asked: string;
  isRight: ModelCheck;
  headers: Headers;
  started: number;
};

/** LoRAX's answer. Its `details` have counts and the finish, and no `tokens`: OpenAI's answers hold no ids. */
export async function nativeFromOpenAi(response: Response, context: NativeContext): Asked<UpstreamAnswer> {
  if (!response.ok) return refusalOf(response.status, await readBody(response));
  if (isStream(response)) {
    const events = await openStream(response, context.asked, context.isRight);
    if (!events.ok) return events;
    const native = nativeEvents(events.value, context.prompt);
    return ok({ kind: "stream", status: 200, headers: context.headers, events: native, eventsAreTokens: false });
  }
  const body = await readBody(response);
  const piece = readPiece(body);
  if (!piece || piece.finishReason === null || piece.tokens === null) return unreadable();
  if (context.isRight !== null && !context.isRight(piece.model)) return anotherModel(context.asked, piece.model);
  const end = { ...piece, finishReason: piece.finishReason, tokens: piece.tokens, seed: null };
  const headers = countHeaders(context.headers, context.prompt, piece.tokens, context.started);
  return ok({ kind: "whole", status: 200, headers, body: nativeBody(context.prompt, end, []) });
}

async function* nativeEvents(
  chunks: AsyncIterable<UpstreamEvent>,
  prompt: NativePrompt,
): AsyncGenerator<UpstreamEvent> {
  let held: string | null = null;
  let text = "";
  let finishReason: NativeEnd["finishReason"] | null = null;
  let tokens: Tokens | null = null;
  for await (const chunk of chunks) {
    if (chunk.json === undefined) continue; // [DONE]
    const piece = readPiece(chunk.json);
    if (!piece) return yield chunk; // an error
    tokens = piece.tokens ?? tokens;
    finishReason = piece.finishReason ?? finishReason;
    if (piece.text === "") continue;
    if (held !== null) yield nativeEvent(prompt, tokenOf(held), null);
    held = piece.text;
    text += piece.text;
  }
  if (finishReason === null) return;
  const last = held ?? "";
  if (tokens) return yield nativeEvent(prompt, tokenOf(last), { text, finishReason, tokens, seed: null });
  // the bill is then made, or refused, by whoever can count this text
  yield { ...nativeEvent(prompt, tokenOf(last), null), ...lastWithoutCounts(prompt, last, text) };
}

function lastWithoutCounts(prompt: NativePrompt, last: string, text: string): Pick<UpstreamEvent, "data" | "json"> {
  const json = { token: tokenOf(last), generated_text: fullText(prompt, text), details: null };
  return { data: JSON.stringify(json), json };
}

function tokenOf(text: string): NativeToken {
  return { id: 0, text, logprob: null, special: text === "", skipped: false };
}

type Piece = {
  model: string | null | undefined;
  text: string;
  finishReason: NativeEnd["finishReason"] | null;
  tokens: Tokens | null;
};

/** The first choice of a completion, a chat or a chunk of either. Null for what is none of them. */
function readPiece(json: unknown): Piece | null {
  const completion = completionAnswer.safeParse(json);
  const chat = chatAnswer.safeParse(json);
  if (!completion.success || !chat.success) return null;
  const [choice, turn] = [completion.data.choices[0], chat.data.choices[0]];
  const ends: Record<string, NativeEnd["finishReason"]> = { length: "length", stop: "eos_token" };
  return {
    model: completion.data.model,
    text: choice?.text ?? turn?.message?.content ?? turn?.delta?.content ?? "",
    finishReason: ends[choice?.finish_reason ?? ""] ?? null,
    tokens: tokensOf(completion.data),
  };
}
