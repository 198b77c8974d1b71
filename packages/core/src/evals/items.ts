import type { Split } from "@grove/contracts/datasets";
import type { Metric } from "@grove/contracts/evals";
import type { JobConfig } from "@grove/contracts/jobs";
import type { Services } from "../context.ts";
import { readRows } from "../datasets/rows.ts";
import { compileTemplate } from "../datasets/template.ts";

/** `index`: the row's place in the whole file. */
export type EvalItem = { index: number; prompt: string; reference: string };

/** The first rows of a split as prompts with their right answers. */
export async function readItems(
  services: Pick<Services, "storage">,
  dataset: { id: string; profile: unknown },
  config: Pick<JobConfig, "promptTemplate" | "targetColumn">,
  choice: { split: Split; limit: number },
): Promise<EvalItem[]> {
  const promptOf = compileTemplate(config.promptTemplate);
  const items: EvalItem[] = [];
  for await (const { index, values } of readRows(services, dataset, choice))
    items.push({ index, prompt: promptOf(values), reference: (values[config.targetColumn] ?? "").trim() });
  return items;
}

/** Whether every right answer is one line, so that the first line of an answer is the answer. */
export function areSingleLine(items: EvalItem[]): boolean {
  return items.every((item) => !item.reference.includes("\n"));
}

export function defaultMetric(labels: string[] | null): Metric {
  return labels === null ? "rouge_l" : "accuracy";
}
