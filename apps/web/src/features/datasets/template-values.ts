import type { DataKind, DatasetProfile, RowConfig } from "@grove/contracts/datasets";
import { guessTemplate } from "./guess-template";

export type TemplateValues = RowConfig;
export const emptyTemplate: TemplateValues = {
  dataKind: "template",
  promptTemplate: "",
  targetColumn: "",
  rejectedColumn: null,
  promptFormat: "raw",
};

function named(profile: DatasetProfile, name: string): string | null {
  return profile.columns.find((column) => column.name.toLowerCase() === name)?.name ?? null;
}

/** What the columns' names say that the rows are. */
export function guessKind(profile: DatasetProfile): DataKind {
  if (profile.columns.some((column) => column.name === "messages" && column.type === "json")) return "messages";
  if (named(profile, "chosen") !== null && named(profile, "rejected") !== null) return "preference";
  const inputs = profile.columns.filter((column) => column.name !== "split");
  return inputs.length === 1 && inputs[0]?.type === "text" ? "text" : "template";
}

/** A start that works for this kind of rows. */
export function startTemplate(profile: DatasetProfile, dataKind: DataKind): TemplateValues {
  const guessed = guessTemplate(profile);
  const first = profile.columns.find((column) => column.name !== "split")?.name ?? "";
  switch (dataKind) {
    case "template":
      return { ...emptyTemplate, ...guessed };
    case "messages": {
      const targetColumn = named(profile, "messages") ?? named(profile, "conversations") ?? first;
      return { ...emptyTemplate, dataKind, targetColumn, promptTemplate: "{message}", promptFormat: "chat" };
    }
    case "text":
      return { ...emptyTemplate, dataKind, targetColumn: named(profile, "text") ?? first, promptTemplate: "{text}" };
    case "preference": {
      const prompt = named(profile, "prompt");
      return {
        ...emptyTemplate,
        dataKind,
        promptTemplate: prompt === null ? guessed.promptTemplate : `{${prompt}}`,
        targetColumn: named(profile, "chosen") ?? guessed.targetColumn,
        rejectedColumn: named(profile, "rejected"),
      };
    }
  }
}
