import type { JobConfig } from "@grove/contracts/jobs";
import type { Dataset } from "@grove/db";
import type { Services } from "../context.ts";
import { readRows } from "../datasets/rows.ts";
import { renderTemplate } from "../datasets/template.ts";
import { loadTokenCounter } from "../datasets/tokens.ts";

const MARGIN = 4; // room for an answer that is spelt in more pieces
const LONGEST = 1024;

/** Tokens, end included, of the longest reference of the chosen rows, and a margin. */
export async function answerLength(
  services: Services,
  dataset: Dataset,
  config: JobConfig,
  held: { split: "validation" | "test"; rows: number },
): Promise<number> {
  const counter = await loadTokenCounter(services.settings.baseModel.path);
  let longest = 1;
  for await (const { values } of readRows(services, dataset, { split: held.split, limit: held.rows })) {
    const prompt = renderTemplate(config.promptTemplate, values);
    longest = Math.max(
      longest,
      counter.countCompletion(prompt, values[config.targetColumn] ?? "", config.promptFormat),
    );
  }
  return Math.min(LONGEST, longest + MARGIN);
}
