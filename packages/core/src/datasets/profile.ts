import { type DatasetFormat, type DatasetProfile, datasetProfile, type Split } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { ColumnStats } from "./column-stats.ts";
import { HashMarks53, hash53, hashRow } from "./hash.ts";
import { namedSplit, noRows, randomSplit, splitColumn } from "./split.ts";
import { readTable, type TableProblem, type TableRow } from "./table.ts";
import { cut } from "./text.ts";

const SAMPLES = 20;
const SAMPLE_CHARACTERS = 2_000;
const SAMPLE_BUDGET = 2_000_000; // characters over all samples, for files of hundreds of wide columns
const OF_ANY = 4;
const OF_TRAINING = 1;
const HELD_OUT = 2;
const LEAKED = OF_TRAINING | HELD_OUT;
const MAX_ROWS = 20_000_000; // bounds the memory that finding duplicates takes

/** One pass over the file: every row is checked, nothing is kept but counts. */
export async function profileTable(
  format: DatasetFormat,
  source: AsyncIterable<Uint8Array>,
  seed: number,
): Promise<Result<DatasetProfile, TableProblem>> {
  const table = readTable(format, source);
  const profiler = new Profiler(table.columns, seed);
  for await (const batch of table.batches) {
    if (!batch.ok) return batch;
    const problem = profiler.add(batch.value);
    if (problem) return problem;
  }
  return profiler.finish();
}

/** Which side a row falls on; the same function decides for the counts and for the files that are written. */
export function splitOf(row: TableRow, cellHashes: number[], by: { column: number } | { seed: number }): Split {
  if ("column" in by) return namedSplit(row.cells[by.column] ?? "") ?? "train";
  return randomSplit(hashRow(row.cells, cellHashes, by.seed));
}

class Profiler {
  readonly #columns: string[];
  readonly #seed: number;
  readonly #stats: ColumnStats[] = [];
  readonly #samples: string[][] = [];
  readonly #seen = new HashMarks53();
  readonly #random = noRows();
  readonly #named = noRows();
  #unnamed: { line: number; cell: string } | null = null;
  #rows = 0;
  #duplicates = 0;
  #leaked = 0;

  constructor(columns: string[], seed: number) {
    this.#columns = columns;
    this.#seed = seed;
  }

  add(rows: TableRow[]): Result<never, TableProblem> | null {
    while (this.#stats.length < this.#columns.length)
      this.#stats.push(new ColumnStats(this.#columns[this.#stats.length] ?? ""));
    const split = splitColumn(this.#columns);
    for (const row of rows) this.#addRow(row, split);
    const last = rows.at(-1);
    if (this.#rows > MAX_ROWS && last)
      return fail(
        "dataset_file_invalid",
        `The file has more than ${MAX_ROWS.toLocaleString("en")} rows, which is the limit here.`,
        { line: last.line },
      );
    return null;
  }

  finish(): Result<DatasetProfile, TableProblem> {
    const column = splitColumn(this.#columns);
    const namedRows = this.#named.train + this.#named.validation + this.#named.test;
    const unnamed = this.#unnamed;
    if (namedRows > 0 && unnamed) {
      const said = unnamed.cell === "" ? "is empty" : `says "${cut(unnamed.cell, 80)}"`;
      return fail(
        "dataset_file_invalid",
        `Line ${unnamed.line}: the split column ${said}. Use train, validation or test in every row, or give the column another name.`,
        { line: unnamed.line },
      );
    }
    const byColumn = column !== -1 && namedRows > 0;
    return ok(
      datasetProfile.parse({
        rows: this.#rows,
        duplicateRows: this.#duplicates,
        columns: this.#stats.map((stats) => stats.profile(this.#rows)),
        samples: this.#cutSamples(),
        splitBy: byColumn ? "column" : "random",
        splitRows: byColumn ? this.#named : this.#random,
        leakedRows: this.#leaked,
      }),
    );
  }

  #addRow(row: TableRow, split: number): void {
    const hashes = row.cells.map((cell) => hash53(cell));
    row.cells.forEach((cell, i) => {
      this.#stats[i]?.add(cell, hashes[i] ?? 0);
    });
    this.#countContent(row, hashes, split);
    if (this.#samples.length < SAMPLES) this.#samples.push(row.cells.map((cell) => cut(cell, SAMPLE_CHARACTERS)));
    this.#random[splitOf(row, hashes, { seed: this.#seed })]++;
    this.#countNamed(row, split);
    this.#rows++;
  }

  /** The same content in training and held-out rows flatters every score; a random split keeps it on one side. */
  #countContent(row: TableRow, hashes: number[], column: number): void {
    const name = namedSplit(row.cells[column] ?? "");
    const content = name === null ? row.cells : row.cells.map((cell, i) => (i === column ? "" : cell));
    const mark = name === null ? OF_ANY : name === "train" ? OF_TRAINING : HELD_OUT;
    const before = this.#seen.add(hashRow(content, hashes), mark);
    if (before !== 0) this.#duplicates++;
    if (before !== LEAKED && (before | mark) === LEAKED) this.#leaked++;
  }

  #countNamed(row: TableRow, column: number): void {
    const cell = column === -1 ? "" : (row.cells[column] ?? "");
    const name = namedSplit(cell);
    if (name !== null) this.#named[name]++;
    else this.#unnamed ??= { line: row.line, cell };
  }

  #cutSamples(): Record<string, string>[] {
    const each = Math.min(SAMPLE_CHARACTERS, Math.floor(SAMPLE_BUDGET / (SAMPLES * this.#columns.length)));
    return this.#samples.map((cells) =>
      Object.fromEntries(this.#columns.map((name, i) => [name, cut(cells[i] ?? "", each)])),
    );
  }
}
