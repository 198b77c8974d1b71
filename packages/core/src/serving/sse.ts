import { EventSourceParserStream } from "eventsource-parser/stream";

/** Each server-sent event, in order; `json` is undefined for `[DONE]` and others that are not JSON. Leaving the loop cancels the request behind it. */
export async function* readEvents(
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
): AsyncGenerator<{ data: string; json: unknown }> {
  if (body === null) return;
  const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { data } of events) yield { data, json: parsed(data) };
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}
