import type { DatasetProfile, Split } from "@grove/contracts/datasets";

const names: Record<string, Split> = {
  train: "train",
  training: "train",
  validation: "validation",
  valid: "validation",
  val: "validation",
  dev: "validation",
  test: "test",
  testing: "test",
  evaluation: "test",
  eval: "test",
  0: "train", // Ludwig's numbers
  1: "validation",
  2: "test",
};

/** What a cell of the `split` column says; null where it says nothing known. */
export function namedSplit(cell: string): Split | null {
  const name = cell.trim().toLowerCase();
  return Object.hasOwn(names, name) ? (names[name] ?? null) : null;
}

export function splitColumn(columns: string[]): number {
  return columns.findIndex((name) => name.trim().toLowerCase() === "split");
}

/** 80 / 10 / 10 by a seeded hash of the row's content. */
export function randomSplit(seededRowHash: number): Split {
  const place = seededRowHash / 2 ** 53;
  if (place < 0.8) return "train";
  return place < 0.9 ? "validation" : "test";
}

export function noRows(): DatasetProfile["splitRows"] {
  return { train: 0, validation: 0, test: 0 };
}

/** The rows of one split, one JSON list `[index, cell, …]` a line. */
export function splitKey(datasetId: string, split: Split): string {
  return `datasets/${datasetId}/${split}.jsonl`;
}

export function sourceKey(datasetId: string): string {
  return `datasets/${datasetId}/source`;
}
