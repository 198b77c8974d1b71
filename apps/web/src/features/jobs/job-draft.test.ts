import { jobConfig } from "@grove/contracts/jobs";
import { expect, test } from "vitest";
import { checkDraft, emptyDraft, goOnFrom, withConfig } from "./job-draft";

const dataset = "0190a5b0-0000-7000-8000-000000000000";
const config = jobConfig.parse({
  baseModel: "base",
  promptTemplate: "{x}",
  targetColumn: "y",
  hyperparameters: { maxSteps: 6, alpha: null },
});
const draft = { ...withConfig(emptyDraft(dataset, "base"), config), repository: "kinds" };

test("a configuration survives the way through the form", () => {
  const checked = checkDraft(draft);
  expect(checked.ok && checked.input.config).toEqual(config);
});

test("an emptied field takes its default, or null where null has a meaning", () => {
  const checked = checkDraft({ ...draft, numbers: { ...draft.numbers, epochs: "", maxSteps: " " } });
  expect(checked.ok && checked.input.config.hyperparameters).toMatchObject({ epochs: 3, maxSteps: null });
});

test("each problem stands at its field, in words", () => {
  const checked = checkDraft({
    ...draft,
    repository: "Not A Slug",
    numbers: { ...draft.numbers, rank: "many", epochs: "0", batchSize: "1.5", dropout: "2" },
  });
  expect(checked.ok).toBe(false);
  expect(checked.ok ? {} : checked.problems).toMatchObject({
    repository: expect.stringContaining("lower-case"),
    "config.hyperparameters.rank": "Write a number.",
    "config.hyperparameters.epochs": "Must be more than 0.",
    "config.hyperparameters.batchSize": "Write a whole number.",
    "config.hyperparameters.dropout": "Must be at most 0.9.",
  });
});

test("what goes on from an adapter takes over its form, and a configuration comes back as it was", () => {
  const start = jobConfig.parse({
    baseModel: "tiny",
    promptTemplate: "{a}",
    targetColumn: "b",
    hyperparameters: { rank: 4, alpha: 6, targetModules: ["q_proj"], scoreRows: 20, stopOnScore: { patience: 3 } },
  });
  const going = goOnFrom(draft, "sums/1", start);
  expect(going).toMatchObject({ continueFrom: "sums/1", numbers: { rank: "4", alpha: "6" } });
  expect(going.choices.targetModules).toEqual(["q_proj"]);
  const whole = { ...start, hyperparameters: { ...start.hyperparameters, continueFrom: "sums/1" } };
  expect(checkDraft(withConfig(draft, whole))).toMatchObject({ ok: true, input: { config: whole } });
});

test("patience beyond what is kept is refused at its field", () => {
  const checked = checkDraft({ ...draft, scorePatience: "11" });
  expect(checked.ok ? {} : checked.problems).toHaveProperty(["config.hyperparameters.stopOnScore.patience"]);
});
