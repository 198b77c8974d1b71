import type { DatasetFormat } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { CsvReader, type CsvRecord, sniffDelimiter } from "./csv.ts";
import { type LineBlock, lineBlocks } from "./lines.ts";

export type TableProblem = "dataset_file_invalid" | "dataset_empty";
/** Cells stand in the order of `Table.columns`; a row may be shorter than the columns known later: what is missing is empty. */
export type TableRow = { line: number; cells: string[] };
/** `columns` grows while a JSON Lines file is read and is complete at the end. A problem is the last thing that `batches` gives. */
export type Table = { columns: string[]; batches: AsyncIterable<Result<TableRow[], TableProblem>> };

const MAX_COLUMNS = 500;
const MAX_COLUMN_NAME = 200;

export function readTable(format: DatasetFormat, source: AsyncIterable<Uint8Array>): Table {
  const columns: string[] = [];
  return { columns, batches: format === "csv" ? csvRows(source, columns) : jsonRows(source, columns) };
}

async function* csvRows(
  source: AsyncIterable<Uint8Array>,
  columns: string[],
): AsyncGenerator<Result<TableRow[], TableProblem>> {
  let reader: CsvReader | null = null;
  let header = false;
  let rows = 0;

  function check(records: CsvRecord[]): Result<TableRow[], TableProblem> {
    const first = header ? undefined : records.shift();
    if (first) {
      const problem = takeHeader(first, columns);
      if (problem) return problem;
      header = true;
    }
    const uneven = records.find((record) => record.cells.length !== columns.length);
    if (uneven)
      return fail(
        "dataset_file_invalid",
        `Line ${uneven.line} has ${cellCount(uneven.cells.length)}, the header has ${columns.length}. A cell that holds the delimiter or a line break must stand in quotes.`,
        { line: uneven.line },
      );
    rows += records.length;
    return ok(records);
  }

  for await (const block of lineBlocks(source)) {
    if (!block.ok) return yield block;
    reader ??= new CsvReader(sniffDelimiter(firstLineOf(block.value.text)), block.value.firstLine);
    const records = reader.read(block.value.text);
    const checked = records.ok ? check(records.value) : records;
    yield checked;
    if (!checked.ok) return;
  }
  const rest = reader?.end() ?? ok([]);
  const checked = rest.ok ? check(rest.value) : rest;
  yield checked;
  if (!checked.ok) return;
  if (!header) yield fail("dataset_empty", "The file is empty. It needs a header line and at least one row.");
  else if (rows === 0) yield fail("dataset_empty", "The file holds a header line and no rows.");
}

function firstLineOf(text: string): string {
  return text.slice(0, 100_000).trimStart().split(/\r|\n/, 1)[0] ?? "";
}

function cellCount(count: number): string {
  return count === 1 ? "1 cell" : `${count} cells`;
}

function takeHeader(record: CsvRecord, columns: string[]): Result<never, TableProblem> | null {
  const names = record.cells.map((cell, i) => (cell.trim() === "" ? `column_${i + 1}` : cell.trim()));
  for (const name of names) {
    const problem = addColumn(columns, name, record.line);
    if (problem) return problem;
  }
  return null;
}

function addColumn(columns: string[], name: string, line: number): Result<never, TableProblem> | null {
  if (columns.includes(name))
    return fail(
      "dataset_file_invalid",
      `Line ${line}: the column name "${name}" stands twice in the header. Every column needs a name of its own.`,
      { line },
    );
  if (name.length > MAX_COLUMN_NAME)
    return fail(
      "dataset_file_invalid",
      `Line ${line}: a column name is longer than ${MAX_COLUMN_NAME} characters. Is the first line really a header?`,
      { line },
    );
  if (name === "__proto__")
    return fail("dataset_file_invalid", `Line ${line}: a column cannot be named __proto__.`, { line });
  if (columns.length === MAX_COLUMNS)
    return fail("dataset_file_invalid", `Line ${line}: there are more than ${MAX_COLUMNS} columns.`, { line });
  columns.push(name);
  return null;
}

async function* jsonRows(
  source: AsyncIterable<Uint8Array>,
  columns: string[],
): AsyncGenerator<Result<TableRow[], TableProblem>> {
  const places = new Map<string, number>();
  let rows = 0;

  function place(name: string, line: number): Result<number, TableProblem> {
    const known = places.get(name);
    if (known !== undefined) return ok(known);
    const problem = addColumn(columns, name, line);
    if (problem) return problem;
    places.set(name, columns.length - 1);
    return ok(columns.length - 1);
  }

  function readBlock(block: LineBlock): Result<TableRow[], TableProblem> {
    const found: TableRow[] = [];
    let line = block.firstLine;
    for (const text of block.text.split("\n")) {
      if (text.trim() !== "") {
        const row = readObject(text, line, place);
        if (!row.ok) return row;
        found.push(row.value);
      }
      line++;
    }
    rows += found.length;
    return ok(found);
  }

  for await (const block of lineBlocks(source)) {
    const read = block.ok ? readBlock(block.value) : block;
    yield read;
    if (!read.ok) return;
  }
  if (rows === 0) yield fail("dataset_empty", "The file holds no rows.");
  else if (columns.length === 0) yield fail("dataset_empty", "Every line is an empty object: there are no columns.");
}

function readObject(
  text: string,
  line: number,
  place: (name: string, line: number) => Result<number, TableProblem>,
): Result<TableRow, TableProblem> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return fail(
      "dataset_file_invalid",
      `Line ${line} is not valid JSON: ${error instanceof Error ? error.message : String(error)}`,
      { line },
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return fail(
      "dataset_file_invalid",
      `Line ${line} is not a JSON object, but ${describe(value)}. Every line must be an object like {"text": "…", "label": "…"}.`,
      { line },
    );
  }
  const cells: string[] = [];
  for (const [name, cell] of Object.entries(value)) {
    const at = place(name, line);
    if (!at.ok) return at;
    while (cells.length < at.value) cells.push("");
    cells[at.value] = cellText(cell);
  }
  const broken =
    text.includes("\\u") &&
    [...Object.keys(value), ...cells].some((cell) => cell.includes("\0") || /\p{Surrogate}/u.test(cell));
  if (broken)
    return fail(
      "dataset_file_invalid",
      `Line ${line} holds a \\u escape that is no character (\\u0000 or half of a pair).`,
      { line },
    );
  return ok({ line, cells });
}

function describe(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : `a ${typeof value}`;
}

/** Nested values are kept as compact JSON text, so that a template can show them and a target can be learnt. */
function cellText(cell: unknown): string {
  if (typeof cell === "string") return cell;
  return cell === null ? "" : JSON.stringify(cell);
}
