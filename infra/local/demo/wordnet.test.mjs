import { describe, expect, it } from "vitest";
import { broaderRows, kindRows, kinds, readNouns } from "./wordnet.mjs";

const nouns = await readNouns();

/** @param {Record<string, string>[]} rows */
function splits(rows) {
  const count = (/** @type {string} */ split) => rows.filter((row) => row.split === split).length;
  return { train: count("train"), validation: count("validation"), test: count("test") };
}

describe("the rows of the demo", () => {
  it("tell 24 kinds apart, 90 definitions each, none twice", () => {
    const rows = kindRows(nouns);
    expect(kinds).toHaveLength(24);
    expect(new Set(rows.map((row) => row.kind))).toEqual(new Set(kinds));
    expect(kinds.every((kind) => rows.filter((row) => row.kind === kind).length === 90)).toBe(true);
    expect(new Set(rows.map((row) => row.definition)).size).toBe(rows.length);
    expect(splits(rows)).toEqual({ train: 1800, validation: 60, test: 300 });
  });

  it("name the broader term that WordNet names", () => {
    const rows = broaderRows(nouns);
    expect(splits(rows)).toEqual({ train: 1890, validation: 60, test: 150 });
    expect(rows[0]).toEqual({
      term: "weasel",
      definition: "small carnivorous mammal with short legs and elongated body and neck",
      broader: "musteline mammal",
      split: "test",
    });
  });

  it("are the same on every machine", () => {
    expect(kindRows(nouns)).toEqual(kindRows(nouns));
    expect(kindRows(nouns)[0]?.definition).toBe(
      "a beam of electrons emitted by the cathode of an electrical discharge tube",
    );
  });
});
