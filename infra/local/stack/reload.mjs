import fs from "node:fs";
import { readIfThere } from "../lib/files.mjs";

/**
 * @param {{ folders: string[], language: RegExp, signal: AbortSignal, restart: () => void }} options
 */
export function restartOnChange({ folders, language, signal, restart }) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  for (const folder of folders.filter((name) => fs.existsSync(name))) {
    const watcher = fs.watch(folder, { recursive: true, signal }, (_event, name) => {
      if (name === null || !isSource(name, language)) return;
      // an editor or a git checkout writes many files at once
      clearTimeout(timer);
      timer = setTimeout(restart, 300);
    });
    watcher.on("error", () => {});
  }
}

/**
 * @param {string} name
 * @param {RegExp} language
 */
export function isSource(name, language) {
  return (
    language.test(name) && !/\.test\.|\.e2e\.|(^|\/)(node_modules|generated|tests|__pycache__|\.next)\//.test(name)
  );
}

/**
 * All stacks of a checkout share one web build. When another run has made a new one, the files of the old are gone, and
 * the process that serves them has to begin anew.
 * @param {{ stamp: string, signal: AbortSignal, restart: () => void, everyMs?: number }} options
 */
export function restartOnNewBuild({ stamp, signal, restart, everyMs = 2_000 }) {
  let known = readIfThere(stamp);
  const timer = setInterval(() => {
    const now = readIfThere(stamp);
    // no stamp: a build is under way, and its end is what counts
    if (now === null || now === known) return;
    known = now;
    restart();
  }, everyMs).unref();
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}
