import { z } from "zod";

export type Tokens = { prompt: number; completion: number };
/** How an answer is written: LoRAX's own bodies and events, OpenAI's, or the scores of forced choice. */
export type Dialect = "native" | "openai" | "scores";

const count = z.int().min(0);
const nativeDetails = z.looseObject({ prompt_tokens: count, generated_tokens: count });
const nativeEvent = z.looseObject({ token: z.unknown().optional(), details: nativeDetails.nullish() });
const openAiUsage = z.looseObject({ prompt_tokens: count, completion_tokens: count });
const openAiChoice = z.looseObject({
  text: z.string().nullish(),
  delta: z.looseObject({ content: z.string().nullish() }).nullish(),
});
const openAiEvent = z.looseObject({ choices: z.array(openAiChoice).optional(), usage: openAiUsage.nullish() });
const scores = z.looseObject({ prompt_tokens: count, scores: z.array(z.looseObject({ tokens: count })) });

/** The tokens of a whole answer; null where it does not tell them, which is serving's error and not ours to guess. */
export function tokensOfAnswer(dialect: Dialect, headers: Headers, body: unknown): Tokens | null {
  if (dialect === "openai") {
    const parsed = z.looseObject({ usage: openAiUsage }).safeParse(body);
    return parsed.success
      ? { prompt: parsed.data.usage.prompt_tokens, completion: parsed.data.usage.completion_tokens }
      : null;
  }
  if (dialect === "scores") {
    const parsed = scores.safeParse(body);
    if (!parsed.success) return null;
    // every label is read after the prompt: all of it is work on given text, none of it was generated
    return {
      prompt: parsed.data.scores.reduce((sum, one) => sum + one.tokens, parsed.data.prompt_tokens),
      completion: 0,
    };
  }
  const prompt = headerCount(headers, "x-prompt-tokens");
  const completion = headerCount(headers, "x-generated-tokens");
  return prompt === null || completion === null ? null : { prompt, completion };
}

export function headerCount(headers: Headers, name: string): number | null {
  const value = headers.get(name);
  return value !== null && /^\d{1,15}$/.test(value) ? Number(value) : null;
}

/** Counts a stream event by event, so that what was generated before the caller left is known. */
export class StreamMeter {
  readonly #dialect: Dialect;
  #prompt: number | null;
  #seen = 0;
  #reported: number | null = null;

  constructor(dialect: Dialect, headers: Headers) {
    this.#dialect = dialect;
    this.#prompt = headerCount(headers, "x-prompt-tokens");
  }

  read(event: unknown): void {
    if (this.#dialect === "openai") this.#readOpenAi(event);
    else this.#readNative(event);
  }

  /** Null until the stream has said, by a header or at its end, how long the prompt was. */
  get prompt(): number | null {
    return this.#prompt;
  }

  get completion(): number {
    return this.#reported ?? this.#seen;
  }

  #readNative(event: unknown): void {
    const parsed = nativeEvent.safeParse(event);
    if (!parsed.success) return;
    if (parsed.data.token) this.#seen += 1;
    if (!parsed.data.details) return;
    this.#prompt = parsed.data.details.prompt_tokens;
    this.#reported = parsed.data.details.generated_tokens;
  }

  #readOpenAi(event: unknown): void {
    const parsed = openAiEvent.safeParse(event);
    if (!parsed.success) return;
    // a chunk is a token, but for those that only open or close a choice; the exact count is in the last one
    this.#seen += (parsed.data.choices ?? []).filter((choice) => choice.text || choice.delta?.content).length;
    if (!parsed.data.usage) return;
    this.#prompt = parsed.data.usage.prompt_tokens;
    this.#reported = parsed.data.usage.completion_tokens;
  }
}
