import { type Failure, fail, ok, type Result } from "@grove/contracts/errors";
import type { UsageSource } from "@grove/contracts/serving";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";
import { recordUsage } from "../usage/record.ts";
import type { Route } from "./authorize.ts";
import { StreamMeter, type Tokens, tokensOfAnswer } from "./meter.ts";
import { upstreamOf } from "./upstreams/choose.ts";
import {
  adapterLabel,
  type Counted,
  type PromptRequest,
  type Upstream,
  type UpstreamAnswer,
  type UpstreamError,
} from "./upstreams/upstream.ts";

/** Who pays: one usage row per `key`, however often the same act repeats. */
export type PromptCall = { source: UsageSource; key: string; evalId?: string };

export type WholeAnswer = {
  kind: "whole";
  status: number;
  headers: Headers;
  body: unknown;
  tokens: Tokens | null;
  costMicroUsd: bigint;
};
export type StreamEvent = { data: string; json: unknown; error: boolean };
export type StreamedAnswer = {
  kind: "stream";
  status: number;
  headers: Headers;
  /** Settles when it ends, fails or is left. Tokens and cost are known after that. */
  events: AsyncGenerator<StreamEvent>;
  bill: { tokens: Tokens; costMicroUsd: bigint };
};
export type RoadError = UpstreamError;
type OpenStream = Extract<UpstreamAnswer, { kind: "stream" }>;

/** Somebody waits before the playground; nobody does before an evaluation. */
const priorities: Record<UsageSource, Record<string, string>> = {
  playground: { "x-grove-priority": "high" },
  api: {},
  evaluation: { "x-grove-priority": "low" },
};

/** The one road of a prompt after authorization: route, meter, settle. Answers of serving that refuse are passed on, unbilled. */
export async function travel(
  ctx: OrgCtx,
  request: PromptRequest,
  call: PromptCall,
  signal: AbortSignal,
): Promise<Result<WholeAnswer | StreamedAnswer, RoadError>> {
  const upstream = upstreamOf(ctx.settings, request.route.baseModel);
  const passed = { ...priorities[call.source], ...request.passed };
  const sent = await upstream.prompt(ctx, { ...request, passed }, signal);
  if (!sent.ok) return sent;
  const { status, headers } = sent.value;
  if (sent.value.kind === "stream") {
    const bill = { tokens: { prompt: 0, completion: 0 }, costMicroUsd: 0n };
    const events = meteredEvents(ctx, upstream, request, call, sent.value, bill, signal);
    return ok({ kind: "stream", status, headers, events, bill });
  }
  const { body } = sent.value;
  if (status >= 300) return ok({ kind: "whole", status, headers, body, tokens: null, costMicroUsd: 0n });
  if (!usedAdapters(headers, request.route)) return wrongAdapter(request.route);
  const tokens = tokensOfAnswer(request.dialect, headers, body);
  if (!tokens) return uncounted();
  const costMicroUsd = await settle(ctx, request.route, call, tokens);
  return ok({ kind: "whole", status, headers, body, tokens, costMicroUsd });
}

async function* meteredEvents(
  ctx: OrgCtx,
  upstream: Upstream,
  request: PromptRequest,
  call: PromptCall,
  answer: OpenStream,
  bill: StreamedAnswer["bill"],
  signal: AbortSignal,
): AsyncGenerator<StreamEvent> {
  const meter = new StreamMeter(request.dialect, answer.headers, answer.eventsAreTokens);
  const trusted = usedAdapters(answer.headers, request.route);
  let failed = false; // nobody pays for an answer that we broke
  let tokens: Tokens | null = null;
  try {
    for await (const { data, json, tokens: told } of answer.events) {
      failed = isErrorEvent(json);
      if (!failed && !trusted && json !== undefined) {
        failed = true;
        yield refusalEvent(wrongAdapter(request.route).message);
        return;
      }
      meter.read(json, told);
      yield { data, json, error: failed };
      if (failed) return;
    }
    tokens = meter.started ? await counted(ctx, upstream, request, meter) : null;
    failed = meter.started && tokens === null;
    if (failed) yield refusalEvent(uncounted().message);
  } catch (error) {
    if (signal.aborted) throw error;
    failed = true;
    yield refusalEvent("The model server broke off in the middle of its answer. Send the prompt again.");
  } finally {
    if (!failed && meter.started) tokens ??= await counted(ctx, upstream, request, meter); // the caller left early
    if (!failed && tokens !== null) {
      bill.tokens = tokens;
      bill.costMicroUsd = await settle(ctx, request.route, call, tokens);
    }
  }
}

/** What was told, and a tokenizer for the rest. Null, and free, where that can't be known exactly. */
async function counted(
  ctx: OrgCtx,
  upstream: Upstream,
  request: PromptRequest,
  meter: StreamMeter,
): Promise<Tokens | null> {
  if (meter.exact) return meter.exact;
  const count = (text: string, what: Counted) => upstream.countTokens(ctx, text, what).catch(() => null);
  const prompt = meter.prompt ?? (await count(request.promptText, request.promptFormat));
  const completion = meter.completion ?? (await count(meter.text, "completion"));
  return prompt === null || completion === null ? null : { prompt, completion };
}

const errorEvent = z.looseObject({ error: z.union([z.string(), z.looseObject({})]) });
function isErrorEvent(json: unknown): boolean {
  return errorEvent.safeParse(json).success;
}

function refusalEvent(message: string): StreamEvent {
  const json = { error: message, error_type: "generation" };
  return { data: JSON.stringify(json), json, error: true };
}

function wrongAdapter(route: Route) {
  const wanted = route.adapters.map((adapter) => adapter.id).join(", ") || "the base model alone";
  return fail(
    "generation_failed",
    `The model server did not confirm that it used ${wanted}, so its answer was thrown away.`,
  );
}

/**
 * True if the model server has shown that it used exactly the adapters that were asked for. A prompt for an adapter is never
 * answered with the base, nor with other weights under the same name.
 */
function usedAdapters(headers: Headers, route: Route): boolean {
  return (headers.get("x-grove-adapter") ?? "").replaceAll(" ", "") === adapterLabel(route);
}

function uncounted(): Failure<"generation_failed"> {
  return fail("generation_failed", "The model server answered without saying how many tokens it used.");
}

async function settle(ctx: OrgCtx, route: Route, call: PromptCall, tokens: Tokens): Promise<bigint> {
  return recordUsage(ctx.db, {
    kind: "inference",
    orgId: ctx.orgId,
    idempotencyKey: call.key,
    source: call.source,
    baseModel: route.baseModel,
    adapterVersionId: route.adapters[0]?.versionId ?? null, // a merge is booked under its first adapter
    tokenId: ctx.actor.kind === "token" ? ctx.actor.tokenId : null,
    evalId: call.evalId ?? null,
    promptTokens: tokens.prompt,
    completionTokens: tokens.completion,
  });
}
