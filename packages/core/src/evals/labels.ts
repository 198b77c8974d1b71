import type { Services } from "../context.ts";
import { type DatasetRow, readRows } from "../datasets/rows.ts";

const MAX_LABELS = 100;
const MAX_LABEL_CHARACTERS = 64;
const MIN_ROWS_PER_LABEL = 2; // a column where hardly anything repeats is text, however short

/** The answers of a classification, most frequent first; null if the target column reads like free text. */
export async function detectLabels(
  services: Pick<Services, "storage">,
  dataset: { id: string; profile: unknown },
  targetColumn: string,
): Promise<string[] | null> {
  return labelsOf(readRows(services, dataset, { split: "train" }), targetColumn);
}

export async function labelsOf(rows: AsyncIterable<DatasetRow>, targetColumn: string): Promise<string[] | null> {
  const counts = new Map<string, number>();
  let total = 0;
  for await (const { values } of rows) {
    const value = (values[targetColumn] ?? "").trim();
    if (value === "") continue;
    if (value.length > MAX_LABEL_CHARACTERS || value.includes("\n")) return null;
    counts.set(value, (counts.get(value) ?? 0) + 1);
    if (counts.size > MAX_LABELS) return null;
    total += 1;
  }
  if (counts.size < 2 || counts.size * MIN_ROWS_PER_LABEL > total) return null;
  return [...counts].sort((a, b) => b[1] - a[1]).map(([label]) => label);
}
