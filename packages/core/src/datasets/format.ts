import type { DatasetFormat } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";

const HOW = "Upload CSV (.csv) with a header line, or JSON Lines (.jsonl) with one object a line.";

const binaryKinds: { name: string; bytes: number[] }[] = [
  { name: "a ZIP or Excel file", bytes: [0x50, 0x4b, 0x03, 0x04] },
  { name: "a gzip file", bytes: [0x1f, 0x8b] },
  { name: "a Parquet file", bytes: [0x50, 0x41, 0x52, 0x31] },
  { name: "a PDF", bytes: [0x25, 0x50, 0x44, 0x46] },
  { name: "an old Excel file", bytes: [0xd0, 0xcf, 0x11, 0xe0] },
  { name: "UTF-16 text: save it as UTF-8", bytes: [0xff, 0xfe] },
  { name: "UTF-16 text: save it as UTF-8", bytes: [0xfe, 0xff] },
];

/** By the name's ending and the first bytes; both must make sense. */
export function detectFormat(fileName: string, head: Uint8Array): Result<DatasetFormat, "dataset_format_unknown"> {
  const binary = binaryKinds.find((kind) => kind.bytes.every((byte, i) => head[i] === byte));
  if (binary) return fail("dataset_format_unknown", `${fileName} is ${binary.name}. ${HOW}`);
  const ending = /\.([A-Za-z0-9]+)$/.exec(fileName)?.[1]?.toLowerCase() ?? "";
  if (ending === "csv" || ending === "tsv") return ok("csv");
  if (ending === "jsonl" || ending === "ndjson") return ok("jsonl");
  if (ending !== "json")
    return fail(
      "dataset_format_unknown",
      `${fileName}: the ending ${ending === "" ? "is missing" : `.${ending} is not known here`}. ${HOW}`,
    );
  const first = Buffer.from(head)
    .toString("utf8")
    .replace(/^\uFEFF/, "")
    .trimStart()[0];
  if (first === "[")
    return fail(
      "dataset_format_unknown",
      `${fileName} is one JSON list. Write each of its objects on a line of its own (JSON Lines) and name it .jsonl.`,
    );
  return ok("jsonl");
}
