import { z } from "zod";
import { loadTokenCounter } from "../../datasets/tokens.ts";
import { callServer, readBody } from "./http.ts";
import type { Counted } from "./upstream.ts";

/** By the base's own tokenizer. Null for a conversation: its template may have been another one. */
export async function countWithBase(basePath: string, text: string, what: Counted): Promise<number | null> {
  if (what === "messages") return null;
  const counter = await loadTokenCounter(basePath);
  return what === "completion" ? counter.encode(text, false).length : counter.countPrompt(text, what);
}

const SERVER_TIMEOUT_MS = 5_000;

/** By the server's `/tokenize`. Null where it does not tell. */
export async function countWithServer(
  url: string,
  text: string,
  headers: Record<string, string>,
): Promise<number | null> {
  const call = { method: "POST", path: "/tokenize", body: { inputs: text }, headers } as const;
  const answer = await callServer(url, call, AbortSignal.timeout(SERVER_TIMEOUT_MS));
  if (!answer.ok || !answer.value.ok) return null;
  return z.array(z.unknown()).safeParse(await readBody(answer.value)).data?.length ?? null;
}
