import { randomUUID } from "node:crypto";
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

const passedOn = ["x-grove-priority", "x-grove-deadline-ms", "traceparent"];

/** What a client may tell serving about its prompt besides the body (contracts README §3). */
export function passedOnHeaders(c: GatewayContext): Record<string, string> {
  const entries = passedOn.map((name): [string, string | undefined] => [name, c.req.header(name)]);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
