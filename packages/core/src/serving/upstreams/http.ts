import { setTimeout as sleep } from "node:timers/promises";
import { fail, ok, type Result } from "@grove/contracts/errors";

export type ServerCall = {
  method: "GET" | "POST";
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
};

/** While a model server restarts, callers wait this long before they hear of it. */
export const patienceMs = 15_000; // a base model is loaded in 3 to 10 s
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;

/**
 * Any answer but "not there" is returned as it is. Nothing has reached the caller before the answer's head, so a connection
 * lost before it is tried again: the prompt is then answered once, late.
 */
export async function callServer(
  url: string,
  call: ServerCall,
  signal: AbortSignal,
  patience: number = patienceMs,
): Promise<Result<Response, "serving_unavailable">> {
  const until = Date.now() + patience;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    const response = await attempt(url, call, signal);
    if (response !== null && response.status !== 503) return ok(response);
    await response?.body?.cancel();
    if (Date.now() + pause > until) {
      return fail(
        "serving_unavailable",
        "The model server is not answering: it may be starting. Try again in a few seconds.",
      );
    }
    await sleep(pause, undefined, { signal });
  }
}

async function attempt(url: string, call: ServerCall, signal: AbortSignal): Promise<Response | null> {
  const headers = { ...(call.body === undefined ? {} : { "content-type": "application/json" }), ...call.headers };
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  try {
    return await fetch(`${url}${call.path}`, { method: call.method, headers, body, signal });
  } catch (error) {
    if (signal.aborted || !(error instanceof TypeError)) throw error;
    return null; // fetch says TypeError for every failure of the network
  }
}

export function bearer(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` };
}

export function traceOf(request: { passed?: Record<string, string> }): Record<string, string> {
  const trace = request.passed?.traceparent;
  return trace === undefined ? {} : { traceparent: trace };
}

export async function readBody(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { error: text, error_type: "generation" }; // LoRAX writes some refusals as plain text
  }
}

export function isStream(response: Response): boolean {
  return (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
}

export async function isHealthy(url: string, path: string, headers: Record<string, string>, signal: AbortSignal) {
  return fetch(`${url}${path}`, { headers, signal }).then(
    async (response) => {
      await response.body?.cancel();
      return response.ok;
    },
    () => false,
  );
}
