import type { Generated } from "@grove/contracts/serving";
import type { Route } from "../authorize.ts";
import type { Tokens } from "../meter.ts";
import type { NativePrompt } from "./native-parameters.ts";
import { adapterLabel, type UpstreamEvent } from "./upstream.ts";

export type NativeToken = { id: number; text: string; logprob: number | null; special: boolean; skipped: boolean };
export type NativeEnd = {
  text: string;
  finishReason: Generated["finishReason"];
  tokens: Tokens;
  seed: number | null;
};

/** LoRAX's answer, as `/generate` or the root writes it. */
export function nativeBody(prompt: NativePrompt, end: NativeEnd, tokens: NativeToken[]): unknown {
  const body = {
    generated_text: fullText(prompt, end.text),
    ...(prompt.parameters.details ? { details: { ...endDetails(end), prefill: [], tokens } } : {}),
  };
  return prompt.inArray ? [body] : body;
}

function endDetails(end: NativeEnd) {
  return {
    finish_reason: end.finishReason,
    prompt_tokens: end.tokens.prompt,
    generated_tokens: end.tokens.completion,
    skipped_tokens: 0,
    seed: end.seed,
  };
}

export function fullText(prompt: NativePrompt, text: string): string {
  return prompt.parameters.return_full_text ? prompt.inputs + text : text;
}

/** One event of LoRAX's stream; the last one carries the whole text. */
export function nativeEvent(prompt: NativePrompt, token: NativeToken, end: NativeEnd | null): UpstreamEvent {
  const json = {
    token,
    generated_text: end === null ? null : fullText(prompt, end.text),
    details: end === null ? null : endDetails(end),
  };
  return { data: JSON.stringify(json), json, ...(end === null ? {} : { tokens: end.tokens }) };
}

export function errorEvent(message: string): UpstreamEvent {
  const json = { error: message, error_type: "generation" };
  return { data: JSON.stringify(json), json };
}

/** Who answered; `x-grove-adapter` may be written only where the server has shown it. */
export function identityHeaders(route: Route): Headers {
  const headers = new Headers({ "x-model-id": route.baseModel });
  if (route.adapters.length === 0) return headers;
  headers.set("x-adapter-id", route.adapters.map((adapter) => adapter.id).join(","));
  headers.set("x-adapter-source", "pbase");
  headers.set("x-grove-adapter", adapterLabel(route));
  return headers;
}

/** LoRAX's headers of a whole answer, as far as they can be known from here. */
export function countHeaders(headers: Headers, prompt: NativePrompt, tokens: Tokens, started: number): Headers {
  const milliseconds = String(Math.round(performance.now() - started));
  headers.set("x-compute-characters", String([...prompt.inputs].length));
  headers.set("x-total-time", milliseconds);
  headers.set("x-compute-time", milliseconds);
  headers.set("x-prompt-tokens", String(tokens.prompt));
  headers.set("x-generated-tokens", String(tokens.completion));
  headers.set("x-skipped-tokens", "0");
  headers.set("x-total-tokens", String(tokens.prompt + tokens.completion));
  return headers;
}
