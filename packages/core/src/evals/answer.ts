import { setTimeout as sleep } from "node:timers/promises";
import type { Result } from "@grove/contracts/errors";
import type { Metric } from "@grove/contracts/evals";
import type { GenerateInput } from "@grove/contracts/serving";
import type { OrgCtx } from "../context.ts";
import { generate } from "../serving/generate.ts";
import type { PromptCall } from "../serving/road.ts";
import { scoreLabels } from "../serving/score.ts";
import type { EvalItem } from "./items.ts";
import { pickScore, scoreAnswer } from "./metrics.ts";
import type { SideResult } from "./summary.ts";

/** What is the same for every row of an evaluation. */
export type EvalPlan = {
  evalId: string;
  baseModel: string;
  adapterId: string;
  chat: boolean;
  metric: Metric;
  labels: string[] | null;
  maxNewTokens: number;
  singleLine: boolean; // no reference has a line break: the first line of an answer is the answer
};
export type Side = "adapter" | "base";
export type Answered = SideResult & { text: string };

/** The model server is away, which is not the row's fault: the evaluation goes on later with the rows it has. */
export class ServingAway extends Error {}

const OVERLOAD_PAUSE_MS = 1_000;

/** One side of one row: a free answer, and for a classification the likeliest label. */
export async function answerRow(
  ctx: OrgCtx,
  plan: EvalPlan,
  side: Side,
  item: EvalItem,
  signal: AbortSignal,
): Promise<Answered> {
  const call: PromptCall = {
    source: "evaluation",
    key: `eval-${plan.evalId}-${item.index}-${side}`,
    evalId: plan.evalId,
  };
  const given = await patiently(() => generate(ctx, promptFor(plan, side, item), call, signal), signal);
  if (!given.ok) return failed(given.message);
  const text = trimAnswer(given.value.text, plan.singleLine);
  const forced = await forcedChoice(ctx, plan, side, item, { ...call, key: `${call.key}-choice` }, signal);
  const scores = scoreAnswer(text, item.reference);
  return {
    text,
    score: pickScore(plan.metric, scores),
    exact: scores.exact,
    rougeL: scores.rougeL,
    forced: forced.ok ? forced.value : null,
    error: forced.ok ? null : forced.message,
    promptTokens: given.value.promptTokens,
    completionTokens: given.value.completionTokens,
    seconds: given.value.milliseconds / 1000,
  };
}

/** Both sides get the same prompt, the same limit and greedy choice. */
function promptFor(plan: EvalPlan, side: Side, item: EvalItem): GenerateInput {
  return {
    baseModel: plan.baseModel,
    adapterIds: side === "adapter" ? [plan.adapterId] : [],
    prompt: item.prompt,
    maxNewTokens: plan.maxNewTokens,
    temperature: null,
    stop: [],
    seed: null,
    applyChatTemplate: plan.chat,
  };
}

/**
 * A small base model often goes on after its answer. Where every reference is one line, both sides are read up to their
 * first line break; stopping the engine there instead would lose the answers that begin with one.
 */
export function trimAnswer(text: string, singleLine: boolean): string {
  const trimmed = text.replaceAll("\0", "").trim(); // Postgres keeps no NUL, and models can produce one
  return singleLine ? (trimmed.split("\n", 1)[0] ?? "").trim() : trimmed;
}

async function forcedChoice(
  ctx: OrgCtx,
  plan: EvalPlan,
  side: Side,
  item: EvalItem,
  call: PromptCall,
  signal: AbortSignal,
): Promise<Result<string | null>> {
  const labels = plan.labels;
  if (labels === null) return { ok: true, value: null };
  const input = {
    baseModel: plan.baseModel,
    adapterId: side === "adapter" ? plan.adapterId : null,
    prompt: item.prompt,
    continuations: labels.map((label) => asContinuation(item.prompt, plan.chat, label)),
    applyChatTemplate: plan.chat,
  };
  const scored = await patiently(() => scoreLabels(ctx, input, call, signal), signal);
  if (!scored.ok) return scored;
  const logprobs = scored.value.scores.map((score) => score.logprob);
  return { ok: true, value: labels[logprobs.indexOf(Math.max(...logprobs))] ?? null };
}

/** As `lora_py.prompt` writes completions in training: a raw prompt that does not end in whitespace is followed by a space. */
export function asContinuation(prompt: string, chat: boolean, label: string): string {
  return !chat && /\S$/.test(prompt) ? ` ${label}` : label;
}

/** A full queue is waited out; a model server that is away ends this run of the evaluation. */
async function patiently<T>(ask: () => Promise<Result<T>>, signal: AbortSignal): Promise<Result<T>> {
  for (;;) {
    const answer = await ask();
    if (answer.ok) return answer;
    if (answer.code === "serving_unavailable") throw new ServingAway(answer.message);
    if (answer.code !== "serving_overloaded") return answer;
    await sleep(OVERLOAD_PAUSE_MS, undefined, { signal });
  }
}

function failed(message: string): Answered {
  return {
    text: "",
    score: 0,
    exact: false,
    rougeL: 0,
    forced: null,
    error: message,
    promptTokens: 0,
    completionTokens: 0,
    seconds: 0,
  };
}
