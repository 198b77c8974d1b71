import { fail, ok, type Result } from "@grove/contracts/errors";
import type { UsageSource } from "@grove/contracts/serving";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";
import { recordUsage } from "../usage/record.ts";
import type { Route } from "./authorize.ts";
import { type Dialect, StreamMeter, type Tokens, tokensOfAnswer } from "./meter.ts";
import { readEvents } from "./sse.ts";
import { callServing, usedAdapters } from "./upstream.ts";

/** Who pays: one usage row per `key`, however often the same act repeats. */
export type PromptCall = { source: UsageSource; key: string; evalId?: string };
/** A prompt whose route `authorizeRoute` has allowed. `promptText` is what to measure if a stream ends before it told its length. */
export type RoadRequest = { path: string; dialect: Dialect; body: unknown; route: Route; promptText: string };

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
export type RoadError = "serving_unavailable" | "generation_failed";

/** The one road of a prompt after authorization: route, meter, settle. Answers of serving that refuse are passed on, unbilled. */
export async function travel(
  ctx: OrgCtx,
  request: RoadRequest,
  call: PromptCall,
  signal: AbortSignal,
): Promise<Result<WholeAnswer | StreamedAnswer, RoadError>> {
  const sent = await callServing(
    ctx,
    { method: "POST", path: request.path, body: request.body, adapters: request.route.adapters },
    signal,
  );
  if (!sent.ok) return sent;
  const { status, headers } = sent.value;
  if ((headers.get("content-type") ?? "").startsWith("text/event-stream")) {
    const bill = { tokens: { prompt: 0, completion: 0 }, costMicroUsd: 0n };
    return ok({
      kind: "stream",
      status,
      headers,
      events: meteredEvents(ctx, request, call, sent.value, bill, signal),
      bill,
    });
  }
  const answer = await readBody(sent.value);
  if (status >= 300) return ok({ kind: "whole", status, headers, body: answer, tokens: null, costMicroUsd: 0n });
  if (!usedAdapters(headers, request.route.adapters)) return wrongAdapter(request.route);
  const tokens = tokensOfAnswer(request.dialect, headers, answer);
  if (!tokens) return fail("generation_failed", "The model server answered without saying how many tokens it used.");
  return ok({
    kind: "whole",
    status,
    headers,
    body: answer,
    tokens,
    costMicroUsd: await settle(ctx, request.route, call, tokens),
  });
}

async function readBody(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { error: text, error_type: "generation" }; // LoRAX writes some refusals as plain text
  }
}

async function* meteredEvents(
  ctx: OrgCtx,
  request: RoadRequest,
  call: PromptCall,
  response: Response,
  bill: StreamedAnswer["bill"],
  signal: AbortSignal,
): AsyncGenerator<StreamEvent> {
  const meter = new StreamMeter(request.dialect, response.headers);
  const trusted = usedAdapters(response.headers, request.route.adapters);
  let failed = false; // nobody pays for an answer that we broke
  try {
    for await (const data of readEvents(response.body)) {
      const json = parseEvent(data);
      failed = isErrorEvent(json);
      if (!failed && !trusted && json !== undefined) {
        failed = true;
        yield refusalEvent(wrongAdapter(request.route).message);
        return;
      }
      meter.read(json);
      yield { data, json, error: failed };
      if (failed) return;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    failed = true;
    yield refusalEvent("The model server broke off in the middle of its answer. Send the prompt again.");
  } finally {
    if (!failed && meter.completion > 0) {
      bill.tokens = {
        prompt: meter.prompt ?? (await countTokens(ctx, request.promptText)),
        completion: meter.completion,
      };
      bill.costMicroUsd = await settle(ctx, request.route, call, bill.tokens);
    }
  }
}

/** `[DONE]` and other events that are not JSON are undefined. */
function parseEvent(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
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

const tokenized = z.array(z.unknown());
const COUNT_TIMEOUT_MS = 5_000;

/** The caller is gone by now: serving counts the prompt it worked on, and a silence of serving costs nobody anything. */
async function countTokens(ctx: OrgCtx, text: string): Promise<number> {
  const call = { method: "POST", path: "/tokenize", body: { inputs: text } } as const;
  try {
    const answer = await callServing(ctx, call, AbortSignal.timeout(COUNT_TIMEOUT_MS));
    if (!answer.ok || !answer.value.ok) return 0;
    const parsed = tokenized.safeParse(await answer.value.json());
    return parsed.success ? parsed.data.length : 0;
  } catch {
    return 0;
  }
}
