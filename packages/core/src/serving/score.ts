import { fail, ok, type Result } from "@grove/contracts/errors";
import type { ScoreInput } from "@grove/contracts/serving";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";
import { authorizeRoute } from "./authorize.ts";
import { adapterParameters, type GenerateError } from "./generate.ts";
import { refusalOf } from "./refusal.ts";
import { type PromptCall, travel } from "./road.ts";

export type LabelScore = { logprob: number; tokens: number };
export type Scored = { scores: LabelScore[]; promptTokens: number };

const scoreBody = z.looseObject({
  scores: z.array(z.object({ logprob: z.number(), tokens: z.int() })),
  prompt_tokens: z.int(),
});

/** The summed log-probability of each continuation after the prompt, in the order asked. */
export async function scoreLabels(
  ctx: OrgCtx,
  input: ScoreInput,
  call: PromptCall,
  signal: AbortSignal,
): Promise<Result<Scored, GenerateError>> {
  const route = await authorizeRoute(ctx, input.baseModel, input.adapterId === null ? [] : [input.adapterId]);
  if (!route.ok) return route;
  const body = {
    inputs: input.prompt,
    continuations: input.continuations,
    parameters: { ...adapterParameters(route.value), apply_chat_template: input.applyChatTemplate },
  };
  const answer = await travel(
    ctx,
    {
      path: "/score",
      dialect: "scores",
      body,
      route: route.value,
      promptText: input.prompt,
      promptFormat: input.applyChatTemplate ? "chat" : "raw",
    },
    call,
    signal,
  );
  if (!answer.ok) return answer;
  if (answer.value.kind === "stream")
    return fail("generation_failed", "The model server streamed where a table of scores was asked for.");
  if (answer.value.tokens === null) return refusalOf(answer.value.status, answer.value.body);
  const parsed = scoreBody.safeParse(answer.value.body);
  if (!parsed.success || parsed.data.scores.length !== input.continuations.length) {
    return fail("generation_failed", "The model server's scores could not be read.");
  }
  return ok({ scores: parsed.data.scores, promptTokens: parsed.data.prompt_tokens });
}
