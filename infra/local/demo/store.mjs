import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";

/**
 * Writes lines to a file below the data folder and gives its hash. Appears by one rename, so that an interrupted run leaves no half.
 * @param {string} folder
 * @returns {(name: string, lines: Iterable<string> | AsyncIterable<string>) => Promise<{ file: string, hash: string }>}
 */
export function lineStore(folder) {
  return async (name, lines) => {
    fs.mkdirSync(folder, { recursive: true });
    const file = path.join(folder, `${name}.jsonl`);
    const work = `${file}.${randomBytes(4).toString("hex")}`;
    const hash = createHash("sha256");
    const out = await fs.promises.open(work, "wx");
    try {
      for await (const line of lines) {
        hash.update(`${line}\n`);
        await out.write(`${line}\n`);
      }
    } catch (error) {
      fs.rmSync(work, { force: true });
      throw error;
    } finally {
      await out.close();
    }
    fs.renameSync(work, file);
    return { file, hash: hash.digest("hex") };
  };
}

/**
 * @param {string} file
 * @returns {Promise<string>}
 */
export async function hashOfFile(file) {
  const hash = createHash("sha256");
  for await (const chunk of fs.createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}
