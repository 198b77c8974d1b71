import type { DatasetView } from "@grove/contracts/datasets";
import { hyperparameters, type ParsedLudwig } from "@grove/contracts/jobs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestWorld, finishedVersion, readyDataset, type TestWorld } from "../testing.ts";
import { parseLudwig } from "./ludwig.ts";

let world: TestWorld;
let dataset: DatasetView;
let unsplit: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  dataset = await readyDataset(world, "a.jsonl", '{"text":"a","intent":"b","split":"train"}\n');
  unsplit = await readyDataset(world, "b.jsonl", '{"text":"a","intent":"b"}\n');
});
afterAll(() => world.close());

const parse = (yaml: string, of = dataset): Promise<ParsedLudwig> => parseLudwig(world.ctx, { datasetId: of.id, yaml });

test("what is absent takes Grove's defaults", async () => {
  const parsed = await parse(
    "model_type: llm\nbase_model: tiny\ninput_features: [text]\noutput_features: [{name: intent, type: text}]\nadapter: lora\ntrainer: {type: finetune}\n",
  );
  expect(parsed).toMatchObject({
    ok: true,
    config: { promptTemplate: "{text}", hyperparameters: hyperparameters.parse({}) },
  });
});

test("DPO takes its pairs from the target and the rejected column, and says where that is missing", async () => {
  const trainer = (rejected: string) => `${start}adapter: lora\ntrainer:\n  type: dpo\n  dpo_beta: 0.2\n${rejected}`;
  expect(await parse(trainer("  rejected_column: split\n"))).toMatchObject({
    ok: true,
    config: {
      dataKind: "preference",
      targetColumn: "intent",
      rejectedColumn: "split",
      hyperparameters: { method: "dpo", beta: 0.2 },
    },
  });
  const missing = { key: "trainer.type", message: expect.stringContaining('no column "rejected"') };
  expect(await parse(trainer(""))).toMatchObject({ ok: false, problems: [missing] });
});

test("rsLoRA, NEFTune and another optimizer are taken over", async () => {
  const parsed = await parse(
    `${start}adapter: {type: lora, use_rslora: true}\ntrainer: {type: finetune, optimizer: paged_lion_8bit}\nmodel_parameters: {neftune_noise_alpha: 5}\n`,
  );
  const hyperparameters = { useRslora: true, neftuneAlpha: 5, optimizer: "lion" };
  expect(parsed).toMatchObject({ ok: true, config: { hyperparameters } });
  expect(parsed.ok && parsed.notes.join("\n")).toContain("run as lion");
});

test.each([
  ["adamw_8bit", "adamw_8bit"],
  ["paged_adamw_8bit", "adamw_8bit"],
  ["paged_adamw", "adamw"],
  ["adam_8bit", "adam"],
  ["sgd_8bit", "sgd"],
])("Ludwig's optimizer %s is run as %s, and said so where the name differs", async (name, ours) => {
  const parsed = await parse(`${start}adapter: lora\ntrainer: {type: finetune, optimizer: {type: ${name}}}\n`);
  expect(parsed).toMatchObject({ ok: true, config: { hyperparameters: { optimizer: ours } } });
  expect(parsed.ok && parsed.notes.some((note) => note.includes(`optimizer ${name} is run as ${ours}`))).toBe(
    name !== ours,
  );
});

test("DoRA is taken over, and that it is not served is said; so is that merging is an export", async () => {
  const parsed = await parse(
    `${start}adapter: {type: lora, use_dora: true, postprocessor: {merge_adapter_into_base_model: true}}\n`,
  );
  expect(parsed).toMatchObject({ ok: true, config: { hyperparameters: { useDora: true } } });
  const notes = parsed.ok ? parsed.notes.join("\n") : "";
  expect(notes).toContain("the engine does not serve it");
  expect(notes).toContain("as an export");
});

test("pretrained_adapter_weights goes on from an adapter of the organisation, where it fits", async () => {
  await finishedVersion(world, { datasetId: dataset.id, repository: "before", hyperparameters: { rank: 4 } });
  const yaml = (id: string, rank: number) =>
    `${start}adapter:\n  type: lora\n  r: ${rank}\n  pretrained_adapter_weights: ${id}\n`;
  expect(await parse(yaml("before/1", 4))).toMatchObject({
    ok: true,
    config: { hyperparameters: { rank: 4, continueFrom: "before/1" } },
  });
  expect(await parse(yaml("before/1", 8))).toMatchObject({
    ok: false,
    problems: [{ key: "adapter.r", line: 7, message: expect.stringContaining("set it to 4") }],
  });
  expect(await parse(yaml("before/2", 4))).toMatchObject({
    ok: false,
    problems: [{ key: "adapter.pretrained_adapter_weights", line: 8, message: expect.stringContaining("no adapter") }],
  });
});

const start = "model_type: llm\nbase_model: tiny\ninput_features: [text]\noutput_features: [intent]\n";
test("every problem is told at once, in the order of the lines", async () => {
  const parsed = await parse(`${start}adapter: {type: ia3, bias: 1}\nnonsense: 1\ntrainer: {type: kto}\n`);
  expect(parsed.ok ? [] : parsed.problems.map((problem) => problem.line)).toEqual([5, 5, 6, 7]);
});

test("a fixed split needs a split column", async () => {
  const parsed = await parse(`${start}adapter: lora\npreprocessing: {split: {type: fixed}}\n`, unsplit);
  expect(parsed).toMatchObject({ ok: false, problems: [{ key: "preprocessing.split.type", line: 6 }] });
});

test("an empty or absurd file is a problem, not a crash", async () => {
  for (const yaml of [" ", "- 1\n", "42", "a: &x 1\nb: *x\n", "\t\t", "{".repeat(2000), "[".repeat(50_000)]) {
    const parsed = await parse(yaml);
    expect(parsed.ok).toBe(false);
  }
});
