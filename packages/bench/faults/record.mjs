import fs from "node:fs";

// What a run has found so far, in a file that is replaced after each round, so that an ended run is gone on from.

/**
 * @typedef {object} Record
 * @property {string} date
 * @property {{ cpu: string, cores: number }} machine
 * @property {string} commit
 * @property {number} seed
 * @property {number} seconds of all sittings
 * @property {import("./round.mjs").Outcome[]} outcomes
 * @property {string[]} wrong at the end of a sitting
 */

/**
 * @param {string | undefined} file
 * @param {number} seed
 * @returns {Record}
 */
export function readRecord(file, seed) {
  const empty = { date: "", machine: { cpu: "", cores: 0 }, commit: "", seed, seconds: 0, outcomes: [], wrong: [] };
  if (file === undefined || !fs.existsSync(file)) return empty;
  /** @type {Record} */
  const found = JSON.parse(fs.readFileSync(file, "utf8"));
  if (found.seed !== seed)
    throw new Error(`${file} is of seed ${found.seed}: give another file, or --seed ${found.seed}.`);
  return { ...empty, ...found };
}

/**
 * A line a round: somebody reads the changes of the committed file.
 * @param {string | undefined} file
 * @param {Record} record
 */
export function writeRecord(file, { outcomes, ...head }) {
  if (file === undefined) return;
  const lines = outcomes.map((one) => `  ${JSON.stringify(one)}`).join(",\n");
  const text = `${JSON.stringify(head, null, 1).slice(0, -2)},\n "outcomes": [\n${lines}\n ]\n}\n`;
  fs.writeFileSync(`${file}.new`, text);
  fs.renameSync(`${file}.new`, file);
}
