import { z } from "zod";

export type Tokens = { prompt: number; completion: number };
/** How an answer is written: LoRAX's own bodies and events, OpenAI's, or the scores of forced choice. */
export type Dialect = "native" | "openai" | "scores";

const count = z.int().min(0);
const nativeDetails = z.looseObject({ prompt_tokens: count, generated_tokens: count });
const nativeEvent = z.looseObject({
  token: z.looseObject({ text: z.string() }).nullish(),
  details: nativeDetails.nullish(),
});
const openAiUsage = z.looseObject({ prompt_tokens: count, completion_tokens: count });
const toolCall = z.looseObject({ function: z.looseObject({ arguments: z.string().nullish() }).nullish() });
const openAiChoice = z.looseObject({
  text: z.string().nullish(),
  delta: z.looseObject({ content: z.string().nullish(), tool_calls: z.array(toolCall).nullish() }).nullish(),
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
  readonly #eventsAreTokens: boolean;
  #prompt: number | null;
  #seen = 0;
  #text = "";
  #reported: Tokens | null = null;

  constructor(dialect: Dialect, headers: Headers, eventsAreTokens: boolean) {
    this.#dialect = dialect;
    this.#eventsAreTokens = eventsAreTokens;
    this.#prompt = headerCount(headers, "x-prompt-tokens");
  }

  /** `told`: what the model server says that it has used so far. */
  read(event: unknown, told: Tokens | undefined): void {
    if (this.#dialect === "openai") this.#readOpenAi(event);
    else this.#readNative(event);
    if (told) this.#reported = told;
  }

  get started(): boolean {
    return this.#seen > 0 || (this.#reported?.completion ?? 0) > 0;
  }

  /** Null until the stream has told its figures. */
  get exact(): Tokens | null {
    return this.#reported;
  }

  /** Null until the stream has said, by a header or at its end, how long the prompt was. */
  get prompt(): number | null {
    return this.#reported?.prompt ?? this.#prompt;
  }

  /** Null where only a tokenizer can tell how many tokens `text` was. */
  get completion(): number | null {
    return this.#reported?.completion ?? (this.#eventsAreTokens ? this.#seen : null);
  }

  get text(): string {
    return this.#text;
  }

  #readNative(event: unknown): void {
    const parsed = nativeEvent.safeParse(event);
    if (!parsed.success) return;
    if (parsed.data.token) this.#seen += 1;
    this.#text += parsed.data.token?.text ?? "";
    const { details } = parsed.data;
    if (details) this.#reported = { prompt: details.prompt_tokens, completion: details.generated_tokens };
  }

  #readOpenAi(event: unknown): void {
    const parsed = openAiEvent.safeParse(event);
    if (!parsed.success) return;
    for (const { text, delta } of parsed.data.choices ?? []) {
      const called = (delta?.tool_calls ?? []).map((call) => call.function?.arguments ?? "").join("");
      const piece = `${text ?? ""}${delta?.content ?? ""}${called}`;
      if (piece === "") continue; // it only opens or closes a choice
      this.#seen += 1;
      this.#text += piece;
    }
    const { usage } = parsed.data;
    if (usage) this.#reported = { prompt: usage.prompt_tokens, completion: usage.completion_tokens };
  }
}
