import { expect, it } from "vitest";
import { dollars, resultTable } from "./table.mjs";

/** @param {number | null} forced */
function outcome(forced) {
  const side = (/** @type {number} */ score) => ({
    score,
    exactMatch: score / 2,
    forcedChoice: forced === null ? null : forced + score,
  });
  const metric = forced === null ? "rouge_l" : "accuracy";
  return {
    task: /** @type {import("./tasks.mjs").Task} */ ({ name: "T" }),
    job: { result: { seconds: 125.4, costMicroUsd: "70000" } },
    evaluation: { costMicroUsd: "2500", summary: { metric, rows: 150, base: side(0.1), adapter: side(0.5) } },
  };
}

it("shows base and fine-tuned for each way of asking, with time and whole cost", () => {
  const [, , free, forced, text, exact] = resultTable([outcome(0.2), outcome(null)]).map((line) =>
    line.trim().split(/ {2,}/),
  );
  expect(free).toEqual(["T", "150", "freely (accuracy)", "0.100", "0.500", "2 min 5 s", "$0.0725"]);
  expect(forced).toEqual(["choosing among the labels", "0.300", "0.700"]);
  expect(text?.slice(2, 5)).toEqual(["freely (ROUGE-L)", "0.100", "0.500"]);
  expect(exact).toEqual(["freely (exact match)", "0.050", "0.250"]);
});

it("writes micro-dollars as dollars", () => {
  expect([dollars(0n), dollars(28n), dollars(1_234_567n)]).toEqual(["$0.0000", "$0.0000", "$1.2346"]);
});
