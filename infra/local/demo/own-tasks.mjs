import path from "node:path";
import { findData, mergedLines } from "./own-data.mjs";
import { hashOfFile, lineStore } from "./store.mjs";

const OWN_SECONDS = 300;
const OWN_EPOCHS = 3;
const OWN_EVAL_ROWS = 100;

/** @typedef {{ file: string, prompt: string, target: string }} OwnData */

/**
 * The reader's own files, each an adapter.
 * @param {OwnData[]} own
 * @param {ReturnType<typeof lineStore>} store
 * @param {{ minutes: number | null, rows: number | null }} limits
 * @param {(line: string) => void} say
 * @returns {Promise<import("./tasks.mjs").Task[]>}
 */
export async function ownTasks(own, store, limits, say) {
  const taken = new Set();
  const tasks = [];
  for (const { file, prompt, target } of own) {
    const found = findData(file);
    const repository = freeName(slugOf(found.name), taken);
    const merged = found.parts.some((part) => part.split !== "");
    const names = found.parts.map((part) => path.basename(part.file)).join(", ");
    if (merged) say(`  ${found.name}: ${names} become one data set with a split column`);
    const whole = found.parts[0]?.file ?? file;
    tasks.push({
      name: found.name,
      repository,
      promptTemplate: prompt.replaceAll("\\n", "\n"), // a shell passes the two characters on as they are
      targetColumn: target,
      data: merged ? await store(repository, mergedLines(found.parts)) : { file: whole, hash: await hashOfFile(whole) },
      maxSeconds: limits.minutes === null ? OWN_SECONDS : Math.round(limits.minutes * 60),
      epochs: OWN_EPOCHS,
      evalRows: limits.rows ?? OWN_EVAL_ROWS,
      maxNewTokens: undefined,
    });
  }
  return tasks;
}

/** @param {string} name */
function slugOf(name) {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 50)
    .replace(/-+$/, "");
  return slug === "" ? "own-data" : slug;
}

/**
 * @param {string} name
 * @param {Set<string>} taken
 */
function freeName(name, taken) {
  let free = name;
  for (let i = 2; taken.has(free); i += 1) free = `${name}-${i}`;
  taken.add(free);
  return free;
}
