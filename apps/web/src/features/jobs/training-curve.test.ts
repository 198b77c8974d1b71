import type { JobEventView } from "@grove/contracts/jobs";
import { expect, test } from "vitest";
import { readStory } from "./training-curve";

const view = (event: unknown, seq: number): JobEventView => ({ seq, attempt: 1, createdAt: new Date(0), event });
const step = (n: number, loss: number) => ({
  event: "step",
  step: n,
  total_steps: 2000,
  epoch: 0,
  loss,
  learning_rate: 1e-4,
  tokens: 1,
  tokens_per_second: 1,
  seconds: 1,
  seconds_left: 1,
});

test("steps and validations of one step make one point, and a resumed attempt has the last word", () => {
  const events = [step(1, 3), step(2, 2.5), { event: "validation", step: 2, loss: 2.4 }, step(2, 2.2)].map(view);
  expect(readStory(events).points).toEqual([
    { step: 1, loss: 3, validation: null, learningRate: 1e-4 },
    { step: 2, loss: 2.2, validation: 2.4, learningRate: 1e-4 },
  ]);
});

test("an event this page does not know is skipped", () => {
  expect(readStory([view({ event: "later" }, 1), view(null, 2)]).points).toEqual([]);
});

test("a long run is thinned, and keeps its validations and its last step", () => {
  const events = Array.from({ length: 2000 }, (_, index) => view(step(index + 1, 1), index));
  const { points } = readStory([...events, view({ event: "validation", step: 1234, loss: 1 }, 2001)]);
  expect(points.length).toBeLessThan(700);
  expect(points.at(-1)?.step).toBe(2000);
  expect(points.some((point) => point.validation === 1)).toBe(true);
});
