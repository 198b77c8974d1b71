import type { JobView } from "@grove/contracts/jobs";
import { expect, test } from "vitest";
import { checkGrid, emptyGrid } from "./grid-draft";
import { bestRun, byLoss } from "./ranking";

test("typed values become a grid; nothing typed is no sweep", () => {
  expect(checkGrid(emptyGrid)).toEqual({ ok: true, grid: null });
  const typed = checkGrid({ ...emptyGrid, learningRate: "2e-4, 5e-4", rank: "8 16" });
  expect(typed).toEqual({ ok: true, grid: { learningRate: [2e-4, 5e-4], rank: [8, 16] } });
});

test("what is wrong is said at its field, and of the whole below", () => {
  expect(checkGrid({ ...emptyGrid, rank: "8, 99" })).toMatchObject({ problems: { rank: "Must be at most 64." } });
  expect(checkGrid({ ...emptyGrid, rank: "8, x" })).toMatchObject({ problems: { rank: "Write a number." } });
  expect(checkGrid({ ...emptyGrid, rank: "8" })).toMatchObject({
    problems: { "": expect.stringContaining("two values") },
  });
});

function run(id: string, validationLoss: number | null) {
  const result = validationLoss === null ? null : { validationLoss, trainLoss: 9 };
  return { job: { id, result } as JobView, values: {} };
}

test("finished runs come first, the lowest loss leading; one alone is not called the lowest", () => {
  const runs = [run("waits", null), run("worse", 0.5), run("better", 0.4), run("also waits", null)];
  expect(byLoss(runs).map(({ job }) => job.id)).toEqual(["better", "worse", "waits", "also waits"]);
  expect(bestRun(runs)?.job.id).toBe("better");
  expect(bestRun(runs.slice(0, 2))).toBeNull();
});
