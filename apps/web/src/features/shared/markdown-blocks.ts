export type Block =
  | { kind: "heading"; level: number; text: string }
  | { kind: "code"; text: string }
  | { kind: "list"; items: string[] }
  | { kind: "table"; rows: string[][] }
  | { kind: "paragraph"; text: string };

function cells(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());
}

/** The Markdown that model cards are written in: headings, fences, lists, tables, paragraphs. Front matter is left out. */
export function parseMarkdown(source: string): Block[] {
  const lines = source
    .replace(/\r\n/g, "\n")
    .replace(/^---\n[\s\S]*?\n---\n/, "")
    .split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? "";
    const take = (matches: (line: string) => boolean): string[] => {
      const from = at;
      while (at < lines.length && matches(lines[at] ?? "")) at += 1;
      return lines.slice(from, at);
    };
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (line.trim() === "") at += 1;
    else if (heading) {
      blocks.push({ kind: "heading", level: heading[1]?.length ?? 1, text: heading[2] ?? "" });
      at += 1;
    } else if (line.startsWith("```")) {
      at += 1;
      blocks.push({ kind: "code", text: take((next) => !next.startsWith("```")).join("\n") });
      at += 1;
    } else if (/^[-*]\s/.test(line)) {
      blocks.push({ kind: "list", items: take((next) => /^[-*]\s/.test(next)).map((item) => item.slice(2)) });
    } else if (line.startsWith("|")) {
      const rows = take((next) => next.startsWith("|")).filter((row) => !/^\|[\s|:-]+$/.test(row));
      blocks.push({ kind: "table", rows: rows.map(cells) });
    } else {
      blocks.push({
        kind: "paragraph",
        text: take((next) => next.trim() !== "" && !/^(#{1,6}\s|```|[-*]\s|\|)/.test(next)).join(" "),
      });
    }
  }
  return blocks;
}
