import { fail, ok } from "@grove/contracts/errors";
import { readRefusal, refusalOf } from "../refusal.ts";
import { isStream, readBody } from "./http.ts";
import { type ModelCheck, openStream } from "./openai-stream.ts";
import { anotherModel, anyAnswer, tokensOf, unreadable } from "./openai-wire.ts";
import { chatChunks, chatFromCompletion } from "./raw-chat.ts";
import type { Asked, UpstreamAnswer, UpstreamEvent } from "./upstream.ts";

// whatever else a client writes is not passed on: servers of this kind have fields that cost, or that name other things
const knownFields = [
  ...["messages", "prompt", "stream", "stream_options", "max_tokens", "stop", "seed", "n", "user"],
  ...[
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "echo",
  ],
  ...["response_format", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort"],
];

/** The fields of OpenAI's protocol that were given a value, and those that this kind of server knows besides. */
export function openAiFields(body: Record<string, unknown>, besides: string[] = []): Record<string, unknown> {
  const names = [...knownFields, ...besides];
  return Object.fromEntries(Object.entries(body).filter(([name, value]) => names.includes(name) && value !== null));
}

export type PassedAnswer = {
  response: Response;
  asked: string; // the model's name there
  shown: string; // its name here
  isRight: ModelCheck;
  asChat: boolean; // a completion that a chat was asked for
  headers: Headers; // who answered, if `isRight` finds no fault
};

/** An OpenAI server's answer to an OpenAI prompt: as it is, under the name that the client gave the model. */
export async function passOpenAi(answer: PassedAnswer): Asked<UpstreamAnswer> {
  const { response, asked, isRight, headers } = answer;
  if (!response.ok) return refused(response);
  if (isStream(response)) {
    const events = await openStream(response, asked, isRight);
    if (!events.ok) return events;
    const chunks = answer.asChat ? chatChunks(events.value) : events.value;
    return ok({ kind: "stream", status: 200, headers, events: renamed(chunks, answer.shown), eventsAreTokens: false });
  }
  const body = await readBody(response);
  const parsed = anyAnswer.safeParse(body);
  if (!parsed.success) return unreadable();
  if (isRight !== null && !isRight(parsed.data.model)) return anotherModel(asked, parsed.data.model);
  const shown = { ...parsed.data, model: answer.shown };
  return ok({ kind: "whole", status: 200, headers, body: answer.asChat ? chatFromCompletion(shown) : shown });
}

/** What the server holds against us (a key, a model's name) is not the client's to mend. */
async function refused(response: Response): Asked<UpstreamAnswer> {
  const body = await readBody(response);
  if ([401, 403, 404].includes(response.status)) {
    return fail("generation_failed", `The model server refused: ${readRefusal(body).message}`);
  }
  if (response.status >= 500) return refusalOf(response.status, body);
  return ok({ kind: "whole", status: response.status, headers: new Headers(), body });
}

/** Counts that stand in every chunk are for the bill; the client's are in the last one, which has no choices. */
async function* renamed(chunks: AsyncIterable<UpstreamEvent>, model: string): AsyncGenerator<UpstreamEvent> {
  const soFar = new Map<number, number>(); // vLLM counts each choice by itself until the last chunk
  for await (const event of chunks) {
    const parsed = anyAnswer.safeParse(event.json);
    if (!parsed.success || (parsed.data.choices.length === 0 && !parsed.data.usage)) {
      yield event;
      continue;
    }
    const { usage, ...rest } = parsed.data;
    const json = { ...rest, model, ...(rest.choices.length === 0 ? { usage } : {}) };
    const tokens = tokensOf(parsed.data);
    for (const { index } of tokens ? rest.choices : []) soFar.set(index, tokens?.completion ?? 0);
    const completion = rest.choices.length === 0 ? tokens?.completion : [...soFar.values()].reduce((a, b) => a + b, 0);
    const told = tokens && completion !== undefined ? { tokens: { prompt: tokens.prompt, completion } } : {};
    yield { data: JSON.stringify(json), json, ...told };
  }
}
