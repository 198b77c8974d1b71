import { ok } from "@grove/contracts/errors";
import { readEvents } from "../sse.ts";
import { errorEvent } from "./native-answer.ts";
import { anotherModel, anyAnswer } from "./openai-wire.ts";
import type { Asked, UpstreamEvent } from "./upstream.ts";

/** Whether an answer under this name may be shown; null where the name proves nothing. */
export type ModelCheck = ((model: string | null | undefined) => boolean) | null;

/**
 * The chunks of an OpenAI stream. The first one is read before anything is answered, so that whose answer it is stands in
 * the headers; a later chunk of another model ends the stream with an error.
 */
export async function openStream(
  response: Response,
  asked: string,
  isRight: ModelCheck,
): Asked<AsyncGenerator<UpstreamEvent>> {
  const events = readEvents(response.body);
  const first = await events.next();
  if (first.done) return ok(none());
  const model = modelOf(first.value.json);
  if (model !== undefined && isRight !== null && !isRight(model)) {
    await events.return(undefined);
    return anotherModel(asked, model);
  }
  return ok(
    (async function* () {
      try {
        yield first.value;
        for await (const event of events) {
          const name = modelOf(event.json);
          if (name !== undefined && isRight !== null && !isRight(name)) {
            yield errorEvent(anotherModel(asked, name).message);
            return;
          }
          yield event;
        }
      } finally {
        await events.return(undefined);
      }
    })(),
  );
}

/** Undefined for what is no chunk: an error, `[DONE]`. */
function modelOf(json: unknown): string | null | undefined {
  const parsed = anyAnswer.safeParse(json);
  if (!parsed.success || (parsed.data.choices.length === 0 && !parsed.data.usage)) return undefined;
  return parsed.data.model ?? null;
}

async function* none(): AsyncGenerator<UpstreamEvent> {}
