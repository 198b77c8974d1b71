import { z } from "zod";
import { displayName } from "./names.ts";

export const datasetFormats = ["csv", "jsonl"] as const;
export const datasetStatuses = ["profiling", "ready", "failed"] as const;
export type DatasetFormat = (typeof datasetFormats)[number];
export type DatasetStatus = (typeof datasetStatuses)[number];
export const splits = ["train", "validation", "test"] as const;
export type Split = (typeof splits)[number];

/** What stands beside an uploaded file; the bytes themselves are a stream. */
export const uploadDatasetInput = z.strictObject({
  name: displayName,
  fileName: z.string().min(1).max(255),
  splitSeed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(42),
});
export type UploadDatasetInput = z.infer<typeof uploadDatasetInput>;

const cellPreview = z.string();
export const columnProfile = z.strictObject({
  name: z.string(),
  type: z.enum(["text", "number", "boolean", "json"]),
  empty: z.int(),
  distinct: z.int(), // approximate above 10,000
  maxCharacters: z.int(),
  topValues: z.array(z.strictObject({ value: cellPreview, count: z.int() })), // at most 20, for columns that look like labels
  rarestValues: z.array(z.strictObject({ value: cellPreview, count: z.int() })).optional(), // of such a column, up to five that are not among the top; rarest first
});
export type ColumnProfile = z.infer<typeof columnProfile>;

export const datasetProfile = z.strictObject({
  rows: z.int(),
  duplicateRows: z.int(),
  columns: z.array(columnProfile),
  samples: z.array(z.record(z.string(), z.string())), // first 20 rows, cells cut at 2,000 characters
  splitBy: z.enum(["column", "random"]),
  splitRows: z.strictObject({ train: z.int(), validation: z.int(), test: z.int() }),
  leakedRows: z.int().optional(), // contents that stand in the training split and in another; a random split has none
});
export type DatasetProfile = z.infer<typeof datasetProfile>;

export type DatasetView = {
  id: string;
  name: string;
  fileName: string;
  format: DatasetFormat;
  bytes: number;
  status: DatasetStatus;
  profile: DatasetProfile | null;
  error: { code: string; message: string; line: number | null } | null;
  splitSeed: number;
  createdAt: Date;
};

/** `{column}` placeholders; `{{` and `}}` are literal braces. Rendered by core/datasets/template alone. */
export const promptTemplate = z.string().min(1, "Write a prompt template.").max(20_000);

/** `template`: a prompt and its answer. `messages`: conversations. `text`: plain text. `preference`: two answers, one of them wanted. */
export const dataKinds = ["template", "messages", "text", "preference"] as const;
export type DataKind = (typeof dataKinds)[number];

export const promptFormats = ["raw", "chat"] as const;
export type PromptFormat = (typeof promptFormats)[number];

/** How a row becomes what the trainer reads. With conversations and plain text, the template is the playground's alone. */
export const rowConfig = z.strictObject({
  dataKind: z.enum(dataKinds).default("template"),
  promptTemplate,
  targetColumn: z.string().min(1), // the answer, the conversation, the text, or the answer that is wanted
  rejectedColumn: z.string().min(1).nullable().default(null), // the answer that is not wanted
  promptFormat: z.enum(promptFormats).default("raw"),
});
export type RowConfig = z.infer<typeof rowConfig>;

export const previewTemplateInput = rowConfig.extend({ datasetId: z.uuid() });
export type PreviewTemplateInput = z.infer<typeof previewTemplateInput>;

export const tokenLengths = z.strictObject({
  p50: z.int(),
  p95: z.int(),
  max: z.int(),
  total: z.int(),
  rowsMeasured: z.int(),
});
export type TokenLengths = z.infer<typeof tokenLengths>;
/** Token lengths are of prompt + completion + EOS over the training split. */
export type TemplatePreview = {
  examples: { prompt: string; completion: string; rejected: string | null; tokens: number }[];
  lengths: TokenLengths;
};
