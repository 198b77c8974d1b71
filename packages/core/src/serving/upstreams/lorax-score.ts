import { fail, ok } from "@grove/contracts/errors";
import { z } from "zod";
import type { TokenCounter } from "../../datasets/tokens.ts";
import { refusalOf } from "../refusal.ts";
import { readBody } from "./http.ts";
import { confirmed, type LoraxPost, unconfirmed } from "./lorax-identity.ts";
import { unreadable } from "./openai-wire.ts";
import type { Asked, PromptRequest, UpstreamAnswer } from "./upstream.ts";

const scoreBody = z.looseObject({
  inputs: z.string(),
  continuations: z.array(z.string().min(1)).min(1),
  parameters: z.looseObject({ apply_chat_template: z.boolean().nullish() }),
});
const prefilled = z.looseObject({
  details: z.looseObject({
    prefill: z.array(z.looseObject({ id: z.int(), logprob: z.number().nullable() })),
  }),
});
const AT_ONCE = 16;

/**
 * Forced choice by the prompt's log-probabilities, one call a continuation. LoRAX tokenizes prompt and continuation as one
 * text; where that gives other tokens than training saw (lora_py/prompts.py), there is no score rather than a wrong one.
 */
export async function loraxScores(
  request: PromptRequest,
  adapter: Record<string, unknown>,
  counter: TokenCounter,
  post: LoraxPost,
): Asked<UpstreamAnswer> {
  const { inputs, continuations, parameters } = scoreBody.parse(request.body);
  const chat = parameters.apply_chat_template === true;
  const prompt = chat ? counter.turnWithoutBos(inputs) : inputs;
  const promptIds = counter.encode(prompt, true);
  const spaced = !chat && /\S$/.test(inputs);
  const one = async (continuation: string): Asked<{ logprob: number; tokens: number; headers: Headers }> => {
    const text = spaced && /^\S/.test(continuation) ? ` ${continuation}` : continuation;
    const ids = counter.encode(text, false);
    const body = {
      inputs: prompt + text,
      parameters: { ...adapter, max_new_tokens: 1, details: true, decoder_input_details: true },
    };
    const sent = await post("/generate", body);
    if (!sent.ok) return sent;
    const answer = await readBody(sent.value);
    if (!sent.value.ok) return refusalOf(sent.value.status, answer);
    const prefill = prefilled.safeParse(answer).data?.details.prefill;
    if (!prefill) return unreadable();
    if (prefill.map((token) => token.id).join() !== [...promptIds, ...ids].join()) {
      return fail(
        "upstream_unsupported",
        `LoRAX reads ${JSON.stringify(text.slice(0, 40))} after this prompt as other tokens than training did, so it can't be scored.`,
        { field: "continuations" },
      );
    }
    const logprob = prefill.slice(promptIds.length).reduce((sum, token) => sum + (token.logprob ?? 0), 0);
    return ok({ logprob, tokens: ids.length, headers: confirmed(sent.value.headers, request.route) });
  };
  const scores: { logprob: number; tokens: number }[] = [];
  const confirmations: Headers[] = [];
  for (let from = 0; from < continuations.length; from += AT_ONCE) {
    for (const found of await Promise.all(continuations.slice(from, from + AT_ONCE).map(one))) {
      if (!found.ok) return found;
      const { headers, ...score } = found.value;
      scores.push(score);
      confirmations.push(headers);
    }
  }
  const doubtful = confirmations.find((headers) => headers.get("x-grove-adapter") === unconfirmed);
  const headers = doubtful ?? confirmations[0] ?? new Headers();
  return ok({ kind: "whole", status: 200, headers, body: { prompt_tokens: promptIds.length, scores } });
}
