import { expect, test } from "vitest";
import { stepToEndWith } from "./score-watch.ts";

const scored = (...scores: number[]) => scores.map((score, i) => ({ step: 10 * (i + 1), score }));

test.each([
  ["nothing has been scored", [], 1, null],
  ["the newest is the best", [0.1, 0.2, 0.3], 1, null],
  ["one was no better, and two are waited for", [0.1, 0.5, 0.4], 2, null],
  ["as many as the patience were worse", [0.1, 0.5, 0.4, 0.3], 2, 20],
  ["they were as good, which is no progress", [0.5, 0.5, 0.5], 2, 10],
  ["a better one came in between", [0.5, 0.4, 0.6, 0.5], 2, null],
])("%s", (_name, scores, patience, step) => {
  expect(stepToEndWith(scored(...scores), patience)).toBe(step);
});

test("the order in which scores arrive does not matter", () => {
  expect(stepToEndWith(scored(0.1, 0.5, 0.4, 0.3).reverse(), 2)).toBe(20);
});
