import { ok } from "@grove/contracts/errors";
import { z } from "zod";
import type { OrgCtx } from "../../context.ts";
import { refusalOf } from "../refusal.ts";
import { readBody } from "./http.ts";
import { identityHeaders } from "./native-answer.ts";
import { anotherModel, type CompletionChoice, completionAnswer, unreadable } from "./openai-wire.ts";
import type { Asked, PromptRequest, UpstreamAnswer } from "./upstream.ts";
import type { VllmServer } from "./vllm-server.ts";

const scoreBody = z.looseObject({
  inputs: z.string(),
  continuations: z.array(z.string().min(1)).min(1),
  parameters: z.looseObject({ apply_chat_template: z.boolean().nullish() }),
});
const AT_ONCE = 32; // prompts of one call; vLLM's own limit is larger

/**
 * Forced choice by vLLM's prompt log-probabilities. A continuation is tokenized apart from its prompt, after a space where
 * neither of them has one, as the trainer and serving do (lora_py/prompts.py).
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
  const scores: { logprob: number; tokens: number }[] = [];
  for (let from = 0; from < pieces.length; from += AT_ONCE) {
    const some = pieces.slice(from, from + AT_ONCE);
    const body = {
      prompt: some.map((piece) => [...prompt.value.ids, ...piece]),
      max_tokens: 1,
      temperature: 0,
      prompt_logprobs: 0,
    };
    const sent = await server.complete(ctx, request, "/v1/completions", body, signal);
    if (!sent.ok) return sent;
    const answer = await readBody(sent.value.response);
    if (!sent.value.response.ok) return refusalOf(sent.value.response.status, answer);
    const parsed = completionAnswer.safeParse(answer);
    if (!parsed.success) return unreadable();
    if (parsed.data.model !== sent.value.model) return anotherModel(sent.value.model, parsed.data.model);
    for (const [i, piece] of some.entries()) {
      const logprob = sumOf(
        parsed.data.choices.find((choice) => choice.index === i),
        piece,
      );
      if (logprob === null) return unreadable();
      scores.push({ logprob, tokens: piece.length });
    }
  }
  const answer = { prompt_tokens: prompt.value.ids.length, scores };
  return ok({ kind: "whole", status: 200, headers: identityHeaders(request.route), body: answer });
}

function sumOf(choice: CompletionChoice | undefined, piece: number[]): number | null {
  const last = choice?.prompt_logprobs?.slice(-piece.length) ?? [];
  const found = piece.map((id, i) => last[i]?.[id]?.logprob);
  return found.reduce<number | null>(
    (sum, one) => (sum === null || one === undefined ? null : sum + one),
    found.length === 0 ? null : 0,
  );
}
