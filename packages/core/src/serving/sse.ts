import { EventSourceParserStream } from "eventsource-parser/stream";

/** The `data` of each server-sent event, in order. Leaving the loop cancels the request behind it. */
export async function* readEvents(body: ReadableStream<Uint8Array<ArrayBuffer>> | null): AsyncGenerator<string> {
  if (body === null) return;
  const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const event of events) yield event.data;
}
