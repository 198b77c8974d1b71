import { fail, ok, type Result } from "@grove/contracts/errors";
import { z } from "zod";

export type OpenAiKind = "chat" | "completion";

const shared = {
  model: z.string("Name a model: the base model's id or an adapter, for example support-intents/1."),
  stream: z.boolean().nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
};
const part = z.looseObject({ type: z.string(), text: z.string().nullish() });
const message = z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(part)]).nullish() });
const chatBody = z.looseObject({ ...shared, messages: z.array(message).min(1, "Send at least one message.") });
const completionBody = z.looseObject({ ...shared, prompt: z.union([z.string(), z.array(z.string()).min(1)]) });

export type OpenAiRequest = {
  model: string;
  stream: boolean;
  includeUsage: boolean;
  promptText: string;
  passedOn: Record<string, unknown>;
};

/** What the gateway must know of an OpenAI body. Names that OpenAI gave two spellings get the one that serving reads. */
export function readOpenAiBody(kind: OpenAiKind, body: unknown): Result<OpenAiRequest, "invalid_input"> {
  const parsed = kind === "chat" ? chatBody.safeParse(body) : completionBody.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.map(String).join(".") ?? "";
    return fail(
      "invalid_input",
      field === "" ? "The body is not an object." : `${field}: ${issue?.message ?? "is not valid"}`,
      { field },
    );
  }
  const { model, stop, max_tokens, max_completion_tokens, stream_options: _usage, ...rest } = parsed.data;
  const stream = parsed.data.stream ?? false;
  const longest = max_completion_tokens ?? max_tokens;
  return ok({
    model,
    stream,
    includeUsage: parsed.data.stream_options?.include_usage ?? false,
    promptText: textOf(parsed.data),
    passedOn: {
      ...withoutSource(rest),
      ...(stop === null || stop === undefined ? {} : { stop: typeof stop === "string" ? [stop] : stop }),
      ...(longest === null || longest === undefined ? {} : { max_tokens: longest }),
      ...(stream ? { stream_options: { include_usage: true } } : {}),
    },
  });
}

/** The model's name alone chooses the adapter here. */
function withoutSource(body: Record<string, unknown>): Record<string, unknown> {
  const { adapter_source: _source, api_token: _token, ...rest } = body;
  return rest;
}

function textOf(body: z.infer<typeof chatBody> | z.infer<typeof completionBody>): string {
  const prompt = z.union([z.string(), z.array(z.string())]).safeParse(body.prompt);
  if (prompt.success) return typeof prompt.data === "string" ? prompt.data : prompt.data.join("");
  const messages = z.array(message).safeParse(body.messages);
  return (messages.data ?? [])
    .map(({ content }) =>
      typeof content === "string" ? content : (content ?? []).map((one) => one.text ?? "").join(""),
    )
    .join("\n");
}
