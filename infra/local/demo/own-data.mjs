import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { Failure } from "../lib/failure.mjs";
import { parseCsv } from "./csv.mjs";

// What the files of one data set are commonly called, by the split that they hold.
const SPLIT_NAMES = /** @type {const} */ ({
  train: ["train", "training"],
  validation: ["validation", "valid", "val", "dev"],
  test: ["test", "eval"],
});
const EXTENSIONS = [".jsonl", ".ndjson", ".csv"];

/**
 * @typedef {{ split: string, file: string }} SplitFile
 * @typedef {{ name: string, parts: SplitFile[] }} Found one part without a split: a file that is uploaded as it is
 */

/**
 * A file, a folder of split files, or one of them: `train.jsonl` stands for its siblings too.
 * @param {string} given
 * @returns {Found}
 */
export function findData(given) {
  const what = fs.statSync(given, { throwIfNoEntry: false });
  if (!what)
    throw new Failure(`There is no file or folder ${given}.`, {
      advice: "Give --data a CSV or JSONL file, or a folder that holds train.jsonl.",
    });
  if (what.isDirectory()) {
    const parts = splitFilesIn(given);
    if (!parts.some((part) => part.split === "train")) {
      throw new Failure(`${given} holds no train.jsonl or train.csv.`, {
        advice: "Name the file itself: --data FOLDER/FILE.",
      });
    }
    return { name: path.basename(path.resolve(given)), parts };
  }
  if (!EXTENSIONS.includes(path.extname(given)))
    throw new Failure(`${given} is neither CSV nor JSONL.`, {
      advice: `Use a file that ends in ${EXTENSIONS.join(", ")}.`,
    });
  const siblings = splitFilesIn(path.dirname(given));
  const isTrain = siblings.some((part) => part.split === "train" && path.resolve(part.file) === path.resolve(given));
  if (isTrain && siblings.length > 1)
    return { name: path.basename(path.dirname(path.resolve(given))), parts: siblings };
  return { name: path.basename(given, path.extname(given)), parts: [{ split: "", file: given }] };
}

/**
 * @param {string} folder
 * @returns {SplitFile[]}
 */
function splitFilesIn(folder) {
  return Object.entries(SPLIT_NAMES).flatMap(([split, names]) => {
    const files = names.flatMap((name) => EXTENSIONS.map((extension) => path.join(folder, name + extension)));
    const file = files.find((candidate) => fs.existsSync(candidate));
    return file === undefined ? [] : [{ split, file }];
  });
}

/**
 * The rows of all parts as JSON lines with a `split` column.
 * @param {SplitFile[]} parts
 * @returns {AsyncGenerator<string>}
 */
export async function* mergedLines(parts) {
  for (const { split, file } of parts) {
    const rows = path.extname(file) === ".csv" ? parseCsv(fs.createReadStream(file, "utf8")) : jsonRows(file);
    for await (const row of rows) yield JSON.stringify({ ...row, split });
  }
}

/** @param {string} file */
async function* jsonRows(file) {
  let number = 0;
  for await (const line of createInterface({
    input: fs.createReadStream(file, "utf8"),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    number += 1;
    if (line.trim() === "") continue;
    try {
      yield JSON.parse(line);
    } catch {
      throw new Failure(`${file}, line ${number} is not JSON: ${line.slice(0, 80)}`, {
        advice: "Correct the line and run the command again.",
      });
    }
  }
}
