import { loadTokenCounter } from "../../datasets/tokens.ts";
import type { Counted } from "./upstream.ts";

/** By the base's own tokenizer. Null for a conversation: its template may have been another one. */
export async function countWithBase(basePath: string, text: string, what: Counted): Promise<number | null> {
  if (what === "messages") return null;
  const counter = await loadTokenCounter(basePath);
  return what === "completion" ? counter.encode(text, false).length : counter.countPrompt(text, what);
}
