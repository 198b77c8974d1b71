// Configurations that are not run: each is told the line, the column, the key and what to write instead.
import type { DatasetView } from "@grove/contracts/datasets";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestWorld, readyDataset, type TestWorld } from "../testing.ts";
import { parseLudwig } from "./ludwig.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  dataset = await readyDataset(world, "a.jsonl", '{"text":"a","intent":"b","split":"train"}\n');
});
afterAll(() => world.close());

const start = "model_type: llm\nbase_model: tiny\ninput_features: [text]\noutput_features: [intent]\n"; // lines 1 to 4
type Wrong = { yaml: string; key: string; at: string; says: string; cure: string };

const wrong: Record<string, Wrong> = {
  "a misspelt key at the top": {
    yaml: `${start}adapter: lora\ntrianer: {type: finetune}\n`,
    key: "trianer",
    at: "6:1",
    says: 'Unknown key "trianer"',
    cure: 'Did you mean "trainer"?',
  },
  "a misspelt key deep inside": {
    yaml: `${start}adapter: lora\ntrainer:\n  type: finetune\n  learning_rte: 1\n`,
    key: "trainer.learning_rte",
    at: "8:3",
    says: "under trainer",
    cure: 'Did you mean "learning_rate"?',
  },
  "a key that is near nothing": {
    yaml: `${start}adapter:\n  type: lora\n  colour: red\n`,
    key: "adapter.colour",
    at: "7:3",
    says: 'Unknown key "colour"',
    cure: "Known there: type, r,",
  },
  "a model of another type": {
    yaml: `${start.replace("llm", "ecd")}adapter: lora\n`,
    key: "model_type",
    at: "1:13",
    says: "trains nothing else",
    cure: "model_type must be llm",
  },
  "another base": {
    yaml: `${start.replace("tiny", "mistralai/Mistral-7B-v0.1")}adapter: lora\n`,
    key: "base_model",
    at: "2:13",
    says: "is not installed here",
    cure: "write base_model: tiny, or let GROVE_BASE_ALIASES",
  },
  "no adapter": {
    yaml: `${start}adapter: null\n`,
    key: "adapter",
    at: "5:10",
    says: "trains the whole base",
    cure: "Write adapter: {type: lora}.",
  },
  "an adapter that is not even mentioned": {
    yaml: start,
    key: "adapter",
    at: "1:1",
    says: "adapter is missing",
    cure: "Write adapter: {type: lora}.",
  },
  "another adapter type": {
    yaml: `${start}adapter:\n  type: ia3\n`,
    key: "adapter.type",
    at: "6:9",
    says: "ia3 is not supported",
    cure: "Write type: lora.",
  },
  "a key of another adapter type": {
    yaml: `${start}adapter:\n  type: lora\n  target_r: 4\n`,
    key: "adapter.target_r",
    at: "7:13",
    says: "belongs to adalora",
    cure: "Take it out.",
  },
  "another trainer type": {
    yaml: `${start}adapter: lora\ntrainer: {type: kto}\n`,
    key: "trainer.type",
    at: "6:17",
    says: "kto is not supported",
    cure: "only finetune, dpo and orpo are",
  },
  "a known key that is not run": {
    yaml: `${start}adapter: lora\ntrainer: {type: finetune, checkpoints_per_epoch: 2}\n`,
    key: "trainer.checkpoints_per_epoch",
    at: "6:50",
    says: "is not supported here",
    cure: "write steps_per_checkpoint",
  },
  "retrieval into the prompt": {
    yaml: `${start}adapter: lora\nprompt:\n  template: "{text}"\n  retrieval:\n    k: 3\n`,
    key: "prompt.retrieval.k",
    at: "9:8",
    says: "nothing retrieved",
    cure: "Take it out.",
  },
  "another optimizer": {
    yaml: `${start}adapter: lora\ntrainer:\n  optimizer:\n    type: adafactor\n`,
    key: "trainer.optimizer.type",
    at: "8:11",
    says: '"adafactor" is not supported',
    cure: "use adamw, adamw_8bit, adam, sgd, lion",
  },
  "another decay of the rate": {
    yaml: `${start}adapter: lora\ntrainer:\n  learning_rate_scheduler:\n    decay: exponential\n`,
    key: "trainer.learning_rate_scheduler.decay",
    at: "8:12",
    says: '"exponential" is not supported',
    cure: "use cosine, linear or null",
  },
  "bits that no base is kept in": {
    yaml: `${start}adapter: lora\nquantization:\n  bits: 3\n`,
    key: "quantization.bits",
    at: "7:9",
    says: "quantization.bits",
    cure: "must be 4 or 8",
  },
  "code of a model": {
    yaml: `${start}adapter: lora\ntrust_remote_code: true\n`,
    key: "trust_remote_code",
    at: "6:20",
    says: "is not supported here",
    cure: "no code of a model is ever run",
  },
  "a value out of range": {
    yaml: `${start}adapter: {type: lora, r: 1000}\n`,
    key: "adapter.r",
    at: "5:23",
    says: "adapter.r is too large",
    cure: "write at most 64",
  },
  "a rate that is not above zero": {
    yaml: `${start}adapter: lora\ntrainer: {type: finetune, learning_rate: 0}\n`,
    key: "trainer.learning_rate",
    at: "6:27",
    says: "trainer.learning_rate is too small",
    cure: "write more than 0",
  },
  "a value of the wrong kind": {
    yaml: `${start}adapter: lora\ntrainer: {type: finetune, epochs: many}\n`,
    key: "trainer.epochs",
    at: "6:35",
    says: "trainer.epochs",
    cure: "must be a number",
  },
  "a layer that does not exist": {
    yaml: `${start}adapter: {type: lora, target_modules: [q_proj, query]}\n`,
    key: "adapter.target_modules",
    at: "5:23",
    says: "adapter.target_modules",
    cure: "must be one of q_proj, k_proj",
  },
  "an adapter from elsewhere to go on from": {
    yaml: `${start}adapter:\n  type: lora\n  pretrained_adapter_weights: predibase/viggo\n`,
    key: "adapter.pretrained_adapter_weights",
    at: "7:31",
    says: '"predibase/viggo" does not',
    cure: "as repository/version",
  },
  "a key twice": {
    yaml: `${start}adapter: lora\nadapter: lora\n`,
    key: "",
    at: "6:1",
    says: "not valid YAML",
    cure: "must be unique",
  },
  "YAML that ends too soon": {
    yaml: `${start}adapter: {type: lora\n`,
    key: "",
    at: "6:1",
    says: "not valid YAML",
    cure: "end with a }",
  },
  "a feature that is no text": {
    yaml: `${start.replace("[intent]", "[{name: intent, type: category}]")}adapter: lora\n`,
    key: "output_features.0.type",
    at: "4:40",
    says: "features are text here",
    cure: "write type: text",
  },
  "a column that is missing from the data set": {
    yaml: `${start}adapter: lora\nprompt:\n  template: "Say {txet}:"\n`,
    key: "prompt.template",
    at: "7:3",
    says: '"txet"',
    cure: 'Did you mean "text"?',
  },
  "the answer in the template": {
    yaml: `${start}adapter: lora\nprompt:\n  template: "Say {intent}:"\n`,
    key: "prompt.template",
    at: "7:3",
    says: "intent",
    cure: "only copy it",
  },
  "a target that is missing": {
    yaml: `${start.replace("intent", "label")}adapter: lora\n`,
    key: "output_features.0",
    at: "4:18",
    says: 'no column "label"',
    cure: 'Its columns are "text", "intent", "split".',
  },
};

test.each(Object.entries(wrong))(
  "%s is refused where it stands, with what to write instead",
  async (_name, { yaml, ...told }) => {
    const parsed = await parseLudwig(world.ctx, { datasetId: dataset.id, yaml });
    if (parsed.ok) throw new Error("was taken");
    const [first] = parsed.problems;
    expect({ key: first?.key, at: `${first?.line}:${first?.column}` }).toEqual({ key: told.key, at: told.at });
    expect(first?.message).toContain(told.says);
    expect(first?.message).toContain(told.cure);
  },
);
