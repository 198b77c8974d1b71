import { randomUUID } from "node:crypto";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { PromptCall } from "@grove/core/serving/road";
import type { GatewayContext } from "./context.ts";

/** Ours, never the caller's: whoever could choose the key could have a second prompt booked under the first. */
export function newPromptCall(): PromptCall {
  return { source: "api", key: `prompt-${randomUUID()}` };
}

/** Aborted when the client leaves. */
export function clientAbort(c: GatewayContext): AbortController {
  const abort = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => abort.abort(), { once: true });
  return abort;
}

/** Serving's `x-` headers are part of the LoRAX protocol and go to the client; ours win where both speak. */
export function passedHeaders(upstream: Headers): Headers {
  const headers = new Headers();
  for (const [name, value] of upstream) {
    if ((name.startsWith("x-") && name !== "x-request-id") || name === "retry-after") headers.set(name, value);
  }
  return headers;
}

const passedOn = ["x-grove-priority", "x-grove-deadline-ms", "traceparent", "tracestate"];

/** What a client may tell serving about its prompt besides the body (contracts README §3). To go before others is not its to ask. */
export function passedOnHeaders(c: GatewayContext): Result<Record<string, string>, "invalid_input"> {
  const entries = passedOn.map((name): [string, string | undefined] => [name, c.req.header(name)]);
  const given = Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
  if (given["x-grove-priority"] !== "high") return ok(given);
  return fail("invalid_input", "`x-grove-priority` is `normal` or `low` here: `high` is the dashboard's own.", {
    field: "x-grove-priority",
  });
}
