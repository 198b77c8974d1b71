import { fail, ok, type Result } from "@grove/contracts/errors";
import { MAX_LINE_BYTES } from "./lines.ts";

export type CsvRecord = { line: number; cells: string[] };
type Problem = "dataset_file_invalid";

const QUOTE = 34;
const LF = 10;
const CR = 13;

/** RFC 4180 with a choice of delimiter; takes text in pieces and knows the line it is on. Blank lines are skipped. */
export class CsvReader {
  readonly #delimiter: number;
  #state: "start" | "bare" | "quoted" | "closed" = "start";
  #cells: string[] = [];
  #cell = "";
  #line: number;
  #recordLine: number;
  #quoteLine = 0;

  constructor(delimiter: string, firstLine: number) {
    this.#delimiter = delimiter.charCodeAt(0);
    this.#line = firstLine;
    this.#recordLine = firstLine;
  }

  read(text: string): Result<CsvRecord[], Problem> {
    const records: CsvRecord[] = [];
    let at = 0;
    while (at < text.length) {
      if (this.#state === "quoted") {
        at = this.#readQuoted(text, at);
        if (this.#cell.length > MAX_LINE_BYTES) return this.#unclosed();
        continue;
      }
      const code = text.charCodeAt(at);
      if (this.#state === "start" && code === QUOTE) {
        this.#state = "quoted";
        this.#quoteLine = this.#line;
        at++;
      } else if (this.#state === "closed" && code === QUOTE) {
        this.#cell += '"';
        this.#state = "quoted";
        at++;
      } else if (code === this.#delimiter) {
        this.#endCell();
        at++;
      } else if (code === LF || code === CR) {
        at += code === CR && text.charCodeAt(at + 1) === LF ? 2 : 1;
        this.#endRecord(records);
        this.#line++;
        this.#recordLine = this.#line;
      } else if (this.#state === "closed") {
        return fail(
          "dataset_file_invalid",
          `Line ${this.#line}: there is text after a closing quote. A quote inside a quoted cell is written twice ("").`,
          { line: this.#line },
        );
      } else {
        at = this.#readBare(text, at);
      }
    }
    return ok(records);
  }

  end(): Result<CsvRecord[], Problem> {
    if (this.#state === "quoted") return this.#unclosed();
    const records: CsvRecord[] = [];
    this.#endRecord(records);
    return ok(records);
  }

  #readBare(text: string, from: number): number {
    let at = from;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === this.#delimiter || code === LF || code === CR) break;
    }
    this.#cell += text.slice(from, at);
    this.#state = "bare";
    return at;
  }

  #readQuoted(text: string, from: number): number {
    const quote = text.indexOf('"', from);
    const end = quote === -1 ? text.length : quote;
    for (
      let newline = text.indexOf("\n", from);
      newline !== -1 && newline < end;
      newline = text.indexOf("\n", newline + 1)
    )
      this.#line++;
    this.#cell += text.slice(from, end);
    if (quote === -1) return end;
    this.#state = "closed";
    return end + 1;
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = "";
    this.#state = "start";
  }

  #endRecord(records: CsvRecord[]): void {
    const blank = this.#cells.length === 0 && this.#state !== "closed" && this.#cell.trim() === "";
    this.#endCell();
    if (!blank) records.push({ line: this.#recordLine, cells: this.#cells });
    this.#cells = [];
  }

  #unclosed(): Result<never, Problem> {
    return fail("dataset_file_invalid", `Line ${this.#quoteLine}: a quote is opened here and never closed.`, {
      line: this.#quoteLine,
    });
  }
}

/** The one of comma, semicolon and tab that the header holds most of. */
export function sniffDelimiter(header: string): string {
  const bare = header.replace(/"[^"]*"/g, "");
  const count = (delimiter: string): number => bare.split(delimiter).length;
  return [";", "\t"].reduce((best, delimiter) => (count(delimiter) > count(best) ? delimiter : best), ",");
}
