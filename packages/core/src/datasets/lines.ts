import { isUtf8 } from "node:buffer";
import { fail, ok, type Result } from "@grove/contracts/errors";

/** Whole lines of a file, at most a chunk's worth at once; `text` ends in a newline but for the last block. */
export type LineBlock = { text: string; firstLine: number };
export type LineProblem = "dataset_file_invalid";

const NEWLINE = 10;
export const MAX_LINE_BYTES = 16 << 20; // what one row may hold, so that one bad quote cannot pull a whole file into memory

/** Splits at line ends, so no character is ever cut, and refuses what is not UTF-8 text with the line it is on. A BOM is dropped. */
export async function* lineBlocks(
  source: AsyncIterable<Uint8Array>,
  maxLineBytes = MAX_LINE_BYTES,
): AsyncGenerator<Result<LineBlock, LineProblem>> {
  let carry: Buffer[] = [];
  let carried = 0;
  let line = 1;
  let atStart = true;

  function* emit(bytes: Buffer): Generator<Result<LineBlock, LineProblem>> {
    const body = atStart && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
    atStart = false;
    const problem = findBadText(body, line);
    if (problem) {
      yield problem;
      return;
    }
    yield ok({ text: body.toString("utf8"), firstLine: line });
    line += countNewlines(body);
  }

  for await (const part of source) {
    const chunk = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      carry.push(Buffer.from(chunk));
      carried += chunk.byteLength;
      if (carried > maxLineBytes) {
        yield fail(
          "dataset_file_invalid",
          `Line ${line} is longer than ${maxLineBytes / 2 ** 20} MB. Is this a text file with one row a line?`,
          { line },
        );
        return;
      }
      continue;
    }
    yield* emit(Buffer.concat([...carry, chunk.subarray(0, end)]));
    carry = end < chunk.byteLength ? [Buffer.from(chunk.subarray(end))] : [];
    carried = chunk.byteLength - end;
  }
  if (carried > 0) yield* emit(Buffer.concat(carry));
}

function findBadText(bytes: Buffer, firstLine: number): Result<never, LineProblem> | null {
  if (isUtf8(bytes) && !bytes.includes(0)) return null;
  let line = firstLine;
  for (let start = 0; start < bytes.byteLength; line++) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline === -1 ? bytes.byteLength : newline;
    const text = bytes.subarray(start, end);
    if (!isUtf8(text))
      return fail(
        "dataset_file_invalid",
        `Line ${line} is not UTF-8 text. Save the file as UTF-8 and upload it again.`,
        { line },
      );
    if (text.includes(0))
      return fail("dataset_file_invalid", `Line ${line} holds a NUL byte. Is this a text file?`, { line });
    start = end + 1;
  }
  return null;
}

function countNewlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) count++;
  return count;
}
