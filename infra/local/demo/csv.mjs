/**
 * Rows of a CSV with a header, as RFC 4180 has it: quotes, doubled quotes, and line breaks inside quotes.
 * @param {AsyncIterable<string>} chunks
 * @returns {AsyncGenerator<Record<string, string>>}
 */
export async function* parseCsv(chunks) {
  /** @type {string[] | null} */
  let header = null;
  for await (const cells of records(chunks)) {
    if (header === null) header = cells;
    else yield Object.fromEntries(header.map((name, i) => [name, cells[i] ?? ""]));
  }
}

/**
 * @param {AsyncIterable<string>} chunks
 * @returns {AsyncGenerator<string[]>}
 */
async function* records(chunks) {
  /** @type {string[]} */
  let cells = [];
  let cell = "";
  let quoted = false;
  let closing = false; // the last character was a quote inside quotes: an end, or half of a doubled one
  let begun = false;
  for await (const chunk of chunks) {
    for (const char of begun ? chunk : chunk.replace(/^\uFEFF/, "")) {
      if (closing) {
        closing = false;
        if (char === '"') {
          cell += char;
          continue;
        }
        quoted = false;
      }
      if (quoted) {
        if (char === '"') closing = true;
        else cell += char;
      } else if (char === '"' && cell === "") quoted = true;
      else if (char === ",") {
        cells.push(cell);
        cell = "";
      } else if (char === "\n") {
        yield [...cells, cell];
        cells = [];
        cell = "";
      } else if (char !== "\r") cell += char;
    }
    begun = true;
  }
  if (cell !== "" || cells.length > 0) yield [...cells, cell];
}
