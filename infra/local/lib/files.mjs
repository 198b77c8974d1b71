import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { errorCode } from "./failure.mjs";

/**
 * Writes a file so that a reader, or the next run after a crash, sees the old content or the new one and nothing between.
 * @param {string} file
 * @param {string} content
 * @param {number} [mode]
 */
export function writeAtomically(file, content, mode = 0o644) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`;
  const handle = fs.openSync(temporary, "wx", mode);
  try {
    fs.writeSync(handle, content);
    fs.fsyncSync(handle);
  } catch (error) {
    fs.closeSync(handle);
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  fs.closeSync(handle);
  fs.renameSync(temporary, file);
}

/**
 * @param {string} file
 * @returns {string | null} null where there is no such file
 */
export function readIfThere(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return null;
    throw error;
  }
}

/**
 * All files below a folder, sorted, as absolute paths. Folders and files that `skip` names are left out.
 * @param {string} folder
 * @param {(name: string, isFolder: boolean) => boolean} skip
 * @returns {string[]}
 */
export function filesBelow(folder, skip) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !skip(entry.name, entry.isDirectory()))
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .flatMap((entry) => {
      const full = path.join(folder, entry.name);
      if (entry.isDirectory()) return filesBelow(full, skip);
      return entry.isFile() ? [full] : [];
    });
}

/**
 * One hash over names and contents, so that a renamed, changed or removed file shows.
 * @param {string} root paths are hashed relative to it
 * @param {string[]} files a missing one counts as missing, not as an error
 * @param {string[]} [facts] anything else that the result depends on
 */
export function hashOf(root, files, facts = []) {
  const hash = createHash("sha256");
  for (const fact of facts) hash.update(`fact ${fact}\n`);
  for (const file of files) {
    const content = readIfThere(file);
    hash.update(`file ${path.relative(root, file)} ${content === null ? "missing" : content.length}\n`);
    if (content !== null) hash.update(content);
  }
  return hash.digest("hex");
}

/**
 * The last lines of a log, for a message.
 * @param {string} file
 * @param {number} [count]
 * @returns {string[]}
 */
export function tailOf(file, count = 25) {
  try {
    const size = fs.statSync(file).size;
    const handle = fs.openSync(file, "r");
    const length = Math.min(size, 16_384);
    const buffer = Buffer.alloc(length);
    fs.readSync(handle, buffer, 0, length, size - length);
    fs.closeSync(handle);
    const lines = buffer
      .toString("utf8")
      .split("\n")
      .filter((line) => line.trim() !== "");
    return lines.slice(-count).map((line) => line.slice(0, 400));
  } catch {
    return [];
  }
}

/**
 * @param {string} file
 * @returns {number} bytes, 0 where there is no such file
 */
export function sizeOf(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * @param {string} file
 * @param {number} offset where it has become shorter than that, from its beginning
 * @returns {string}
 */
export function readFrom(file, offset) {
  const content = fs.readFileSync(file);
  return content.subarray(content.length < offset ? 0 : offset).toString("utf8");
}
