import { type Failure, fail, ok, type Result } from "@grove/contracts/errors";
import type { GenerateChunk, Generated, GenerateInput } from "@grove/contracts/serving";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";
import { authorizeRoute, type Route, type RouteError } from "./authorize.ts";
import { headerCount } from "./meter.ts";
import { type RefusalError, refusalOf } from "./refusal.ts";
import { type PromptCall, type RoadError, type StreamedAnswer, travel, type WholeAnswer } from "./road.ts";
import type { PromptRequest } from "./upstreams/upstream.ts";

export type GenerateError = RouteError | RoadError | RefusalError;

const finishReason = z.enum(["length", "eos_token", "stop_sequence"]);
const answerBody = z.looseObject({
  generated_text: z.string(),
  details: z.looseObject({ finish_reason: finishReason }),
});
const tokenEvent = z.looseObject({
  token: z.looseObject({ text: z.string(), special: z.boolean() }),
  generated_text: z.string().nullish(),
  details: z.looseObject({ finish_reason: finishReason }).nullish(),
});

/** The answer at once. */
export async function generate(
  ctx: OrgCtx,
  input: GenerateInput,
  call: PromptCall,
  signal: AbortSignal,
): Promise<Result<Generated, GenerateError>> {
  const started = performance.now();
  const route = await authorizeRoute(ctx, input.baseModel, input.adapterIds);
  if (!route.ok) return route;
  const answer = await travel(ctx, requestFor("/generate", input, route.value), call, signal);
  if (!answer.ok) return answer;
  return answer.value.kind === "whole" ? generatedFrom(answer.value, started) : unreadable();
}

function generatedFrom(answer: WholeAnswer, started: number): Result<Generated, GenerateError> {
  if (answer.tokens === null) return refusalOf(answer.status, answer.body);
  const body = answerBody.safeParse(answer.body);
  if (!body.success) return unreadable();
  return ok({
    text: body.data.generated_text,
    finishReason: body.data.details.finish_reason,
    promptTokens: answer.tokens.prompt,
    completionTokens: answer.tokens.completion,
    milliseconds: headerCount(answer.headers, "x-total-time") ?? Math.round(performance.now() - started),
    timeToFirstTokenMs: headerCount(answer.headers, "x-time-to-first-token"),
    costMicroUsd: answer.costMicroUsd,
    adapter: answer.headers.get("x-grove-adapter"),
  });
}

/** The answer as it grows. Ends with `done` or `error`; leaving it early stops the engine and bills what it had generated. */
export async function* generateStream(
  ctx: OrgCtx,
  input: GenerateInput,
  call: PromptCall,
  signal: AbortSignal,
): AsyncGenerator<GenerateChunk> {
  const started = performance.now();
  const route = await authorizeRoute(ctx, input.baseModel, input.adapterIds);
  if (!route.ok) return yield errorChunk(route);
  const answer = await travel(ctx, requestFor("/generate_stream", input, route.value), call, signal);
  if (!answer.ok) return yield errorChunk(answer);
  if (answer.value.kind === "whole") return yield errorChunk(refusalOf(answer.value.status, answer.value.body));
  yield* chunksOf(answer.value, started);
}

async function* chunksOf(answer: StreamedAnswer, started: number): AsyncGenerator<GenerateChunk> {
  let firstMs: number | null = null;
  let text = "";
  let reason: Generated["finishReason"] | null = null;
  for await (const event of answer.events) {
    if (event.error) return yield errorChunk(refusalOf(424, event.json));
    const parsed = tokenEvent.safeParse(event.json);
    if (!parsed.success) continue;
    const { token, generated_text, details } = parsed.data;
    firstMs ??= Math.round(performance.now() - started);
    if (!token.special && token.text !== "") yield { type: "token", text: token.text };
    if (generated_text === null || generated_text === undefined) continue;
    text = generated_text;
    reason = details?.finish_reason ?? "length";
  }
  if (reason === null)
    return yield errorChunk(
      fail("generation_failed", "The model server broke off in the middle of its answer. Send the prompt again."),
    );
  yield {
    type: "done",
    result: {
      text,
      finishReason: reason,
      promptTokens: answer.bill.tokens.prompt,
      completionTokens: answer.bill.tokens.completion,
      milliseconds: Math.round(performance.now() - started),
      timeToFirstTokenMs: firstMs,
      costMicroUsd: answer.bill.costMicroUsd,
      adapter: answer.headers.get("x-grove-adapter"),
    },
  };
}

function requestFor(path: "/generate" | "/generate_stream", input: GenerateInput, route: Route): PromptRequest {
  const sampled = input.temperature !== null && input.temperature > 0;
  const parameters = {
    ...adapterParameters(route),
    ...(input.maxNewTokens === null ? {} : { max_new_tokens: input.maxNewTokens }),
    ...(sampled ? { temperature: input.temperature, do_sample: true } : {}), // without a temperature LoRAX is greedy
    ...(input.seed === null ? {} : { seed: input.seed }),
    stop: input.stop,
    apply_chat_template: input.applyChatTemplate,
    details: true,
  };
  const promptFormat = input.applyChatTemplate ? "chat" : "raw";
  const body = { inputs: input.prompt, parameters };
  return { path, dialect: "native", body, route, promptText: input.prompt, promptFormat };
}

/** How LoRAX is told: nothing for the base, an id for one adapter, an even linear merge for several. */
export function adapterParameters(route: Route): Record<string, unknown> {
  const ids = route.adapters.map((adapter) => adapter.id);
  const [only] = ids;
  if (only === undefined) return {};
  if (ids.length === 1) return { adapter_id: only, adapter_source: "pbase" };
  const weights = ids.map(() => 1 / ids.length);
  return { merged_adapters: { ids, weights, merge_strategy: "linear" }, adapter_source: "pbase" };
}

function errorChunk(failure: Failure): GenerateChunk {
  return { type: "error", code: failure.code, message: failure.message };
}

function unreadable(): Failure<"generation_failed"> {
  return fail("generation_failed", "The model server's answer could not be read.");
}
