import fs from "node:fs";
import path from "node:path";
import { Failure } from "../lib/failure.mjs";

const gigabyte = 1024 ** 3;
/** What a first install writes (node_modules, .venv, the model, caches), and what a start needs to breathe. */
export const needed = { install: 6 * gigabyte, start: 0.5 * gigabyte };

/**
 * @param {string} folder need not exist yet
 * @returns {number} bytes that an ordinary user may still write
 */
export function freeBytes(folder) {
  let existing = folder;
  while (!fs.existsSync(existing)) existing = path.dirname(existing);
  const stats = fs.statfsSync(existing);
  return stats.bavail * stats.bsize;
}

/**
 * @param {string} folder
 * @param {number} bytes
 * @param {(folder: string) => number} [measure]
 */
export function checkDisk(folder, bytes, measure = freeBytes) {
  const free = measure(folder);
  if (free >= bytes) return free;
  throw new Failure(`Only ${inGigabytes(free)} are free where ${folder} is; ${inGigabytes(bytes)} are needed.`, {
    advice: "Free some space, or move the data folder with GROVE_DATA; then run the same command again.",
  });
}

/** @param {number} bytes */
export function inGigabytes(bytes) {
  return `${(bytes / gigabyte).toFixed(1)} GB`;
}
