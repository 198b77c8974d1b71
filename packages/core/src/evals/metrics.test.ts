import { describe, expect, it } from "vitest";
import { asContinuation, trimAnswer } from "./answer.ts";
import { pickScore, rougeL, sameAnswer, scoreAnswer } from "./metrics.ts";

describe("sameAnswer", () => {
  it.each([
    ["animal", "Animal", true],
    [" animal.\n", "animal", true],
    ["animal", "animals", false],
    ["1.0", "1", true],
    ["-3", "-3.00", true],
    ["1e3", "1000", true],
    ["", "", true],
    ["", "0", false],
    ["0x10", "16", false], // only decimal spellings are numbers
    ["Infinity", "infinity", true],
    ["one", "1", false],
    ["no..", "no", false], // one full stop is forgiven, not two
  ])("%j against %j is %s", (answer, reference, same) => {
    expect(sameAnswer(answer, reference)).toBe(same);
  });
});

describe("rougeL", () => {
  // Lin (2004), section 3.1: reference "police killed the gunman", LCS "police the gunman" and "the gunman"
  it("gives the paper's worked examples", () => {
    expect(rougeL("police kill the gunman", "police killed the gunman")).toBeCloseTo(0.75, 10);
    expect(rougeL("the gunman kill police", "police killed the gunman")).toBeCloseTo(0.5, 10);
  });

  // rouge_score 0.1.2, rougeL fmeasure, use_stemmer=False
  it.each([
    ["The quick brown fox jumps over the lazy dog.", "A quick brown dog jumps over the lazy fox!", 2 / 3],
    ["the cat sat on the mat. It was happy.", "It was happy. the cat sat on the mat.", 2 / 3],
    ["a b c a b", "a a b b", (2 * (3 / 5) * (3 / 4)) / (3 / 5 + 3 / 4)],
    ["HELLO, world", "hello world", 1],
    ["state-of-the-art", "state of the art", 1],
  ])("%j against %j", (answer, reference, expected) => {
    expect(rougeL(answer, reference)).toBeCloseTo(expected, 10);
  });

  it("is 0, not an error, where a side has no words", () => {
    expect(rougeL("", "x")).toBe(0);
    expect(rougeL("x", " … ")).toBe(0);
  });

  it("keeps words of other scripts", () => {
    expect(rougeL("приве́т мир", "мир")).toBeGreaterThan(0);
    expect(rougeL("über alles", "uber alles")).toBeCloseTo(0.5, 10);
  });
});

describe("scoreAnswer", () => {
  it("is strict about case in exact match alone", () => {
    const scores = scoreAnswer("Yes.", "yes");
    expect(scores).toEqual({ accuracy: 1, exact: false, rougeL: 1 });
    expect(pickScore("exact_match", scores)).toBe(0);
    expect(pickScore("accuracy", scores)).toBe(1);
    expect(pickScore("rouge_l", scores)).toBe(1);
  });
});

describe("trimAnswer", () => {
  it.each([
    ["\n\n animal\n\nThe answer", true, "animal"],
    [" one\ntwo ", false, "one\ntwo"],
    ["a\0b", true, "ab"], // Postgres would refuse the row
    ["\n", true, ""],
  ])("reads %j with one-line references %s as %j", (text, singleLine, answer) => {
    expect(trimAnswer(text, singleLine)).toBe(answer);
  });
});

describe("asContinuation", () => {
  it("puts the space before a label that training puts there", () => {
    expect(asContinuation("Label:", false, "yes")).toBe(" yes");
    expect(asContinuation("Label:\n", false, "yes")).toBe("yes");
    expect(asContinuation("Label:", true, "yes")).toBe("yes");
  });
});
