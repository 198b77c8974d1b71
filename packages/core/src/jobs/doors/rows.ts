import { type DatasetProfile, type RowConfig, rowConfig } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { z } from "zod";

type Form = "messages" | "completion" | "text" | "preference";
type Known = { columns: string[]; rows: z.input<typeof rowConfig>; line: string };

/** The formats that OpenAI and Predibase know, each by the columns of its file. */
const forms: Record<Form, Known> = {
  messages: {
    columns: ["messages"],
    rows: { dataKind: "messages", promptTemplate: "{message}", targetColumn: "messages", promptFormat: "chat" },
    line: '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
  },
  completion: {
    columns: ["prompt", "completion"],
    rows: { promptTemplate: "{prompt}", targetColumn: "completion" },
    line: '{"prompt": "…", "completion": "…"}',
  },
  text: {
    columns: ["text"],
    rows: { dataKind: "text", promptTemplate: "{text}", targetColumn: "text" },
    line: '{"text": "…"}',
  },
  preference: {
    columns: ["prompt", "chosen", "rejected"],
    rows: { dataKind: "preference", promptTemplate: "{prompt}", targetColumn: "chosen", rejectedColumn: "rejected" },
    line: '{"prompt": "…", "chosen": "…", "rejected": "…"}',
  },
};

/** How the rows of a file are read, by the first of these forms that its columns have. */
export function rowsByColumns(profile: DatasetProfile, allowed: Form[]): Result<RowConfig, "config_invalid"> {
  const names = new Set(profile.columns.map((column) => column.name));
  const form = allowed.find((one) => forms[one].columns.every((name) => names.has(name)));
  if (form !== undefined) return ok(rowConfig.parse(forms[form].rows));
  const lines = allowed.map((one) => forms[one].line).join(" or ");
  return fail(
    "config_invalid",
    `The training file must have lines like ${lines}; its columns are ${[...names].join(", ")}.`,
    {
      field: "training_file",
    },
  );
}
