import fs from "node:fs";
import { readIfThere, writeAtomically } from "../lib/files.mjs";

// A stamp is the last thing that a step writes and the first thing that it removes. So a stamp that matches means that
// the whole step ended well with these inputs; anything else means: do it (again).

/**
 * @param {string} file
 * @param {string} inputs hash of all that the result depends on
 */
export function isFresh(file, inputs) {
  return readIfThere(file)?.trim() === inputs;
}

/**
 * @param {string} file
 * @param {string} inputs
 * @param {() => Promise<void>} work
 */
export async function redo(file, inputs, work) {
  fs.rmSync(file, { force: true });
  await work();
  writeAtomically(file, `${inputs}\n`);
}
