import type { ColumnProfile, DatasetProfile } from "@grove/contracts/datasets";
import { expect, test } from "vitest";
import { guessTemplate } from "./guess-template";

const column = (name: string, labels: string[] = []): ColumnProfile => ({
  name,
  type: "text",
  empty: 0,
  distinct: 9,
  maxCharacters: 9,
  topValues: labels.map((value) => ({ value, count: 1 })),
});
const profile = (...columns: ColumnProfile[]): DatasetProfile => ({
  rows: 9,
  duplicateRows: 0,
  columns,
  samples: [],
  splitBy: "random",
  splitRows: { train: 7, validation: 1, test: 1 },
});

test("a column named like an answer is the target, and the others go in", () => {
  expect(guessTemplate(profile(column("label", ["a", "b"]), column("sentence_text"), column("split")))).toEqual({
    targetColumn: "label",
    promptTemplate: "Sentence text: {sentence_text}\nLabel: ",
  });
});

test("else the last column that holds labels, else the last one", () => {
  expect(guessTemplate(profile(column("kind", ["a", "b"]), column("body"))).targetColumn).toBe("kind");
  expect(guessTemplate(profile(column("id"), column("meaning"), column("words")))).toEqual({
    targetColumn: "words",
    promptTemplate: "Meaning: {meaning}\nWords: ",
  });
});
