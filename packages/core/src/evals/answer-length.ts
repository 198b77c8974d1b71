import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import type { Dataset } from "@grove/db";
import type { OrgCtx } from "../context.ts";
import { readRows } from "../datasets/rows.ts";

const MARGIN = 4; // room for the end and for an answer spelt in more pieces
const LONGEST = 1024;

/** Tokens that the longest reference of the chosen rows needs, and a margin. */
export async function answerLength(
  ctx: OrgCtx,
  dataset: Dataset,
  targetColumn: string,
  held: { split: "validation" | "test"; rows: number },
): Promise<number> {
  const count = await tokenCounter(ctx.settings.baseModel.path);
  let longest = 1;
  for await (const { values } of readRows(ctx, dataset, { split: held.split, limit: held.rows })) {
    longest = Math.max(longest, count(values[targetColumn] ?? ""));
  }
  return Math.min(LONGEST, longest + MARGIN);
}

async function tokenCounter(folder: string): Promise<(text: string) => number> {
  const [model, config] = await Promise.all(["tokenizer.json", "tokenizer_config.json"].map((name) => readFile(join(folder, name), "utf8")));
  const tokenizer = new Tokenizer(JSON.parse(model ?? ""), JSON.parse(config ?? ""));
  return (text) => tokenizer.encode(text, { add_special_tokens: false }).ids.length;
}
