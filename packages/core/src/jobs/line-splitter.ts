const LONGEST_LINE = 1 << 20;

/** Chunks in, lines out, without their ends. A line without an end is given up at a megabyte. */
export function lineSplitter(onLine: (line: string) => void): (text: string) => void {
  let carry = "";
  return (text) => {
    const lines = (carry + text).split("\n");
    carry = lines.pop() ?? "";
    for (const line of lines) onLine(line);
    if (carry.length > LONGEST_LINE) {
      onLine(carry);
      carry = "";
    }
  };
}
