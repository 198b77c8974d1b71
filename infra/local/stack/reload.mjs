import fs from "node:fs";

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
