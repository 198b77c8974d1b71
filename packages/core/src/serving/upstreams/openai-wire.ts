import { type Failure, fail } from "@grove/contracts/errors";
import { z } from "zod";
import type { Tokens } from "../meter.ts";

// OpenAI's answers as their servers write them, with what vLLM adds
const count = z.int().min(0);
const usage = z.looseObject({ prompt_tokens: count, completion_tokens: count });
const completionLogprobs = z.looseObject({
  tokens: z.array(z.string()).default([]),
  token_logprobs: z.array(z.number().nullable()).default([]),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
});
const completionChoice = z.looseObject({
  index: count,
  text: z.string().nullish(),
  finish_reason: z.string().nullish(),
  stop_reason: z.union([z.string(), z.int()]).nullish(),
  token_ids: z.array(z.int()).nullish(),
  logprobs: completionLogprobs.nullish(),
});
const chatText = z.looseObject({ content: z.string().nullish() });
const chatChoice = z.looseObject({
  index: count,
  finish_reason: z.string().nullish(),
  message: chatText.nullish(),
  delta: chatText.nullish(),
});

export const completionAnswer = z.looseObject({
  id: z.string().nullish(),
  created: z.number().nullish(),
  model: z.string().nullish(),
  choices: z.array(completionChoice),
  usage: usage.nullish(),
});
export type CompletionAnswer = z.infer<typeof completionAnswer>;
export type CompletionChoice = z.infer<typeof completionChoice>;

export const chatAnswer = completionAnswer.extend({ choices: z.array(chatChoice) });
/** What every answer and chunk has, of either route. */
export const anyAnswer = completionAnswer.extend({ choices: z.array(z.looseObject({ index: count })).default([]) });

export function tokensOf(answer: { usage?: z.infer<typeof usage> | null | undefined }): Tokens | null {
  return answer.usage ? { prompt: answer.usage.prompt_tokens, completion: answer.usage.completion_tokens } : null;
}

export function unreadable(): Failure<"generation_failed"> {
  return fail("generation_failed", "The model server's answer could not be read.");
}

export function anotherModel(asked: string, answered: string | null | undefined): Failure<"generation_failed"> {
  return fail(
    "generation_failed",
    `The model server answered as ${JSON.stringify(answered ?? null)} where ${JSON.stringify(asked)} was asked, so its answer was thrown away.`,
  );
}
