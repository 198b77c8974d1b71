import type { DatasetProfile } from "@grove/contracts/datasets";

export type TemplateDraft = { promptTemplate: string; targetColumn: string };

const targetNames = [
  "label",
  "target",
  "output",
  "answer",
  "completion",
  "response",
  "category",
  "class",
  "intent",
  "sentiment",
  "task",
];

function guessTarget(columns: DatasetProfile["columns"]): string {
  const byName = targetNames.find((name) => columns.some((column) => column.name.toLowerCase() === name));
  const named = columns.find((column) => column.name.toLowerCase() === byName);
  const labelled = columns.findLast((column) => column.topValues.length > 1);
  return (named ?? labelled ?? columns.at(-1))?.name ?? "";
}

function title(name: string): string {
  const words = name.replace(/[_-]+/g, " ").trim();
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

/** A start that works: every other column by its name, then the target's name and a colon, ready to be answered. */
export function guessTemplate(profile: DatasetProfile): TemplateDraft {
  const columns = profile.columns.filter((column) => column.name !== "split");
  const targetColumn = guessTarget(columns);
  const inputs = columns.filter((column) => column.name !== targetColumn && !/^(id|index|uuid)$/i.test(column.name));
  const lines = inputs.map((column) => `${title(column.name)}: {${column.name}}`);
  return { targetColumn, promptTemplate: [...lines, `${title(targetColumn)}: `].join("\n") };
}
