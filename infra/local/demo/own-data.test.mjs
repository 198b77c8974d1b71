import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseCsv } from "./csv.mjs";
import { findData, mergedLines } from "./own-data.mjs";
import { ownTasks } from "./own-tasks.mjs";
import { lineStore } from "./store.mjs";

let folder = "";
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "grove-own-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/**
 * @param {Record<string, string>} files
 * @returns {string} a folder that holds them
 */
function place(files) {
  const home = fs.mkdtempSync(path.join(folder, "data-"));
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(home, name), content);
  return home;
}

/** @param {AsyncIterable<unknown>} items */
async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

async function* pieces(/** @type {string[]} */ ...texts) {
  yield* texts;
}

describe("findData", () => {
  it("takes a lone file as it is, whatever its neighbours", () => {
    const home = place({ "reviews.csv": "a\n1\n", "train.jsonl": "{}" });
    const file = path.join(home, "reviews.csv");
    expect(findData(file)).toEqual({ name: "reviews", parts: [{ split: "", file }] });
  });

  it("finds the split files of a folder, and of the train file in it", () => {
    const home = place({ "train.jsonl": "{}", "dev.jsonl": "{}", "test.csv": "a\n" });
    const parts = [
      { split: "train", file: path.join(home, "train.jsonl") },
      { split: "validation", file: path.join(home, "dev.jsonl") },
      { split: "test", file: path.join(home, "test.csv") },
    ];
    expect(findData(home).parts).toEqual(parts);
    expect(findData(path.join(home, "train.jsonl")).parts).toEqual(parts);
    expect(findData(path.join(home, "dev.jsonl")).parts).toEqual([{ split: "", file: path.join(home, "dev.jsonl") }]);
  });

  it("says what is missing", () => {
    expect(() => findData(path.join(folder, "nothing.csv"))).toThrow("There is no file or folder");
    expect(() => findData(place({ "test.jsonl": "{}" }))).toThrow("no train.jsonl");
    expect(() => findData(path.join(place({ "a.xlsx": "" }), "a.xlsx"))).toThrow("neither CSV nor JSONL");
  });
});

describe("mergedLines", () => {
  it("puts the split into every row, over one that the row had, from JSONL and CSV alike", async () => {
    const home = place({
      "train.jsonl": '{"q":"1","split":"x"}\n\n{"q":"2"}\r\n',
      "test.csv": 'q,note\n"3, three","line 1\nline ""2"""\n',
    });
    expect((await all(mergedLines(findData(home).parts))).map((line) => JSON.parse(String(line)))).toEqual([
      { q: "1", split: "train" },
      { q: "2", split: "train" },
      { q: "3, three", note: 'line 1\nline "2"', split: "test" },
    ]);
  });

  it("names file and line of what is not JSON", async () => {
    const home = place({ "train.jsonl": '{"q":1}\nnot json\n', "test.jsonl": '{"q":1}\n' });
    await expect(all(mergedLines(findData(home).parts))).rejects.toThrow(/train\.jsonl, line 2 is not JSON/);
  });
});

describe("parseCsv", () => {
  it("reads the same whatever the pieces that the file comes in", async () => {
    const text = '\uFEFFa,b\r\n"x ""y""",\r\n1,"two\r\nlines"';
    const whole = await all(parseCsv(pieces(text)));
    expect(whole).toEqual([
      { a: 'x "y"', b: "" },
      { a: "1", b: "two\r\nlines" },
    ]);
    expect(await all(parseCsv(pieces(...text)))).toEqual(whole);
  });
});

describe("ownTasks", () => {
  it("gives each data set an adapter of its own name, and its content a hash", async () => {
    const [one, other] = [place({ "a b.csv": "q,a\n1,2\n" }), place({ "a b.csv": "q,a\n1,3\n" })];
    const own = [one, other].map((home) => ({ file: path.join(home, "a b.csv"), prompt: "Q: {q}\\nA:", target: "a" }));
    const tasks = await ownTasks(own, lineStore(folder), { minutes: 2, rows: 7 }, () => {});
    expect(tasks.map((task) => task.repository)).toEqual(["a-b", "a-b-2"]);
    expect(tasks[0]).toMatchObject({ promptTemplate: "Q: {q}\nA:", targetColumn: "a", maxSeconds: 120, evalRows: 7 });
    expect(tasks[0]?.data.hash).not.toBe(tasks[1]?.data.hash);
  });
});
