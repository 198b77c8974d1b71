import type { DatasetView } from "@grove/contracts/datasets";
import { hyperparameters, type ParsedLudwig } from "@grove/contracts/jobs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestWorld, readyDataset, type TestWorld } from "../testing.ts";
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

/** The configuration of the published LoRA Land collection, with the base and the columns replaced. */
const loraLand = `model_type: llm
base_model: tiny
input_features:
  - name: prompt
    type: text
    preprocessing:
      max_sequence_length: 1194
output_features:
  - name: intent
    type: text
prompt:
  template: |-
    Route this message.

    Message: {text}
    Intent:
  global_max_sequence_length: 1196
preprocessing:
  split:
    type: fixed
    column: split
adapter:
  type: lora
  r: 8
  target_modules:
    - v_proj
    - q_proj
trainer:
  type: finetune
  optimizer:
    type: adam
  batch_size: 1
  eval_steps: 100
  train_steps: 40000
  learning_rate: 0.0002
  eval_batch_size: 1
  steps_per_checkpoint: 1000
  learning_rate_scheduler:
    decay: cosine
    warmup_fraction: 0.03
  gradient_accumulation_steps: 16
quantization:
  bits: 4
  bnb_4bit_compute_dtype: bfloat16
`;

test("the published LoRA Land configuration is taken over with its base replaced", async () => {
  const parsed = await parse(loraLand);
  expect(parsed).toMatchObject({
    ok: true,
    config: {
      baseModel: "tiny",
      promptTemplate: "Route this message.\n\nMessage: {text}\nIntent:",
      targetColumn: "intent",
      promptFormat: "raw",
      hyperparameters: {
        rank: 8,
        targetModules: ["v_proj", "q_proj"],
        batchSize: 16,
        learningRate: 0.0002,
        scheduler: "cosine",
        warmupRatio: 0.03,
        maxSteps: 40_000,
        epochs: 1000,
        maxLength: 1196,
        evaluateEverySteps: 100,
        checkpointEverySteps: 1000,
        quantization: "nf4",
      },
    },
  });
  expect(parsed.ok && parsed.notes.join("\n")).toContain("train_steps: 40000");
});

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
  expect(parsed.ok && parsed.notes.join("\n")).toContain("run as plain lion");
});

const start = "model_type: llm\nbase_model: tiny\ninput_features: [text]\noutput_features: [intent]\n";
test.each([
  [
    "an unknown key at the top",
    `${start}adapter: lora\ntrianer: {type: finetune}\n`,
    "trianer",
    6,
    1,
    'Did you mean "trainer"?',
  ],
  [
    "an unknown key deep inside",
    `${start}adapter: lora\ntrainer:\n  type: finetune\n  learning_rte: 1\n`,
    "trainer.learning_rte",
    8,
    3,
    'Did you mean "learning_rate"?',
  ],
  [
    "an unknown key near nothing",
    `${start}adapter:\n  type: lora\n  colour: red\n`,
    "adapter.colour",
    7,
    3,
    "Known there: type, r,",
  ],
  [
    "a known key we do not support",
    `${start}adapter:\n  type: lora\n  use_dora: true\n`,
    "adapter.use_dora",
    7,
    13,
    "only plain LoRA",
  ],
  ["another adapter type", `${start}adapter:\n  type: ia3\n`, "adapter.type", 6, 9, "ia3 is not supported"],
  [
    "another trainer type",
    `${start}adapter: lora\ntrainer: {type: kto}\n`,
    "trainer.type",
    6,
    17,
    "kto is not supported",
  ],
  ["no adapter", `${start}adapter: null\n`, "adapter", 5, 10, "never|Without an adapter"],
  [
    "another base",
    `${start.replace("tiny", "mistralai/Mistral-7B-v0.1")}adapter: lora\n`,
    "base_model",
    2,
    13,
    'This installation has "tiny"',
  ],
  ["a value out of range", `${start}adapter: {type: lora, r: 1000}\n`, "adapter.r", 5, 23, "<=64"],
  [
    "a value of the wrong kind",
    `${start}adapter: lora\ntrainer: {type: finetune, epochs: many}\n`,
    "trainer.epochs",
    6,
    35,
    "must be a number",
  ],
  [
    "a module that does not exist",
    `${start}adapter: {type: lora, target_modules: [q_proj, query]}\n`,
    "adapter.target_modules",
    5,
    23,
    "Invalid option",
  ],
  ["a key twice", `${start}adapter: lora\nadapter: lora\n`, "", 6, 1, "unique"],
  ["broken YAML", `${start}adapter: {type: lora\n`, "", 6, 1, "not valid YAML"],
  [
    "a column that is missing from the data set",
    `${start}adapter: lora\nprompt:\n  template: "Say {txet}:"\n`,
    "prompt.template",
    7,
    3,
    'Did you mean "text"?',
  ],
  [
    "the answer in the template",
    `${start}adapter: lora\nprompt:\n  template: "Say {intent}:"\n`,
    "prompt.template",
    7,
    3,
    "only copy it",
  ],
  [
    "a target that is missing",
    `${start.replace("intent", "label")}adapter: lora\n`,
    "output_features.0",
    4,
    18,
    'no column "label"',
  ],
])("%s is refused where it stands", async (_name, yaml, key, line, column, message) => {
  const parsed = await parse(yaml);
  if (parsed.ok) throw new Error("was taken");
  expect(parsed.problems[0]).toMatchObject({ key, line, column });
  expect(parsed.problems[0]?.message).toMatch(new RegExp(message.replace(/[?]/g, "\\?")));
});

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
