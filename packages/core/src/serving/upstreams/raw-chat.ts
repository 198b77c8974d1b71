import { z } from "zod";
import { type CompletionChoice, completionAnswer } from "./openai-wire.ts";
import type { PromptRequest, UpstreamEvent } from "./upstream.ts";

const part = z.looseObject({ type: z.literal("text"), text: z.string() });
const chatBody = z.looseObject({
  messages: z.tuple([z.looseObject({ role: z.literal("user"), content: z.union([z.string(), z.array(part)]) })]),
  tools: z.array(z.unknown()).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().nullish(),
});

/**
 * An adapter that was tuned on raw prompts gets a lone user message as it was written (contracts README §3). A server that
 * knows nothing of adapters' formats is asked for a completion instead of a chat. Null where the template applies.
 */
export function asWritten(request: PromptRequest): { prompt: string; body: Record<string, unknown> } | null {
  if (request.path !== "/v1/chat/completions" || request.route.adapters[0]?.promptFormat !== "raw") return null;
  const parsed = chatBody.safeParse(request.body);
  if (!parsed.success || (parsed.data.tools ?? []).length > 0) return null;
  const { messages, logprobs, top_logprobs, tools: _tools, tool_choice: _choice, ...rest } = parsed.data;
  const [{ content }] = messages;
  const prompt = typeof content === "string" ? content : content.map((one) => one.text).join("");
  return { prompt, body: { ...rest, prompt, ...(logprobs ? { logprobs: top_logprobs ?? 0 } : {}) } };
}

/** The completion that came back, as the chat that was asked for. */
export function chatFromCompletion(body: unknown): unknown {
  const parsed = completionAnswer.safeParse(body);
  if (!parsed.success) return body;
  const choices = parsed.data.choices.map((choice) => ({
    index: choice.index,
    message: { role: "assistant", content: choice.text ?? "", refusal: null },
    finish_reason: choice.finish_reason ?? null,
    logprobs: chatLogprobs(choice),
  }));
  return { ...parsed.data, object: "chat.completion", choices };
}

export async function* chatChunks(events: AsyncIterable<UpstreamEvent>): AsyncGenerator<UpstreamEvent> {
  const begun = new Set<number>();
  for await (const event of events) {
    const parsed = completionAnswer.safeParse(event.json);
    if (!parsed.success) {
      yield event;
      continue;
    }
    const choices = parsed.data.choices.map((choice) => {
      const role = begun.has(choice.index) ? {} : { role: "assistant" };
      begun.add(choice.index);
      return {
        index: choice.index,
        delta: { ...role, ...(choice.text ? { content: choice.text } : {}) },
        finish_reason: choice.finish_reason ?? null,
        logprobs: chatLogprobs(choice),
      };
    });
    const json = { ...parsed.data, object: "chat.completion.chunk", choices };
    yield { ...event, data: JSON.stringify(json), json };
  }
}

function chatLogprobs({ logprobs }: CompletionChoice) {
  if (!logprobs) return null;
  const content = logprobs.tokens.map((token, i) => ({
    token,
    logprob: logprobs.token_logprobs[i] ?? null,
    bytes: [...new TextEncoder().encode(token)],
    top_logprobs: Object.entries(logprobs.top_logprobs?.[i] ?? {}).map(([other, logprob]) => ({
      token: other,
      logprob,
      bytes: [...new TextEncoder().encode(other)],
    })),
  }));
  return { content, refusal: null };
}
