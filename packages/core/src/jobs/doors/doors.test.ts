import type { ColumnProfile, DatasetProfile } from "@grove/contracts/datasets";
import { hyperparameters, jobConfig } from "@grove/contracts/jobs";
import { expect, test } from "vitest";
import { fromOpenAi, openAiJobInput } from "./openai.ts";
import { fromPredibase, predibaseConfig } from "./predibase.ts";

function profile(...names: string[]): DatasetProfile {
  const column: Omit<ColumnProfile, "name"> = { type: "text", empty: 0, distinct: 9, maxCharacters: 9, topValues: [] };
  const columns = names.map((name) => ({ ...column, name }));
  return {
    rows: 9,
    duplicateRows: 0,
    columns,
    samples: [],
    splitBy: "random",
    splitRows: { train: 9, validation: 0, test: 0 },
  };
}
const settings = { baseModel: { id: "tiny", path: "/base" }, baseAliases: ["mistralai/Mistral-7B-v0.1"] };
const fresh = { settings, start: null };
const goingOn = { continueFrom: "sums/3", rank: 4, alpha: 6, targetModules: ["q_proj"], useRslora: true };
const start = {
  id: "sums/3",
  config: jobConfig.parse({
    baseModel: "tiny",
    promptTemplate: "{a}",
    targetColumn: "b",
    hyperparameters: { ...goingOn, continueFrom: null },
  }),
};
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const data = (...names: string[]) => ({
  id: "0198c2f0-0000-7000-8000-000000000000",
  name: "My data",
  profile: profile(...names),
});

test("OpenAI's hyperparameters: auto is Grove's default, the multiplier is one of the default rate", () => {
  const asked = openAiJobInput.parse({
    model: "tiny",
    training_file: "file-1",
    suffix: "Intents v2",
    seed: 7,
    hyperparameters: { n_epochs: 2, batch_size: "auto", learning_rate_multiplier: 0.5 },
  });
  expect(fromOpenAi(asked, data("messages"), fresh)).toMatchObject({
    ok: true,
    value: {
      repository: "intents-v2",
      config: {
        baseModel: "tiny",
        dataKind: "messages",
        promptFormat: "chat",
        hyperparameters: { ...hyperparameters.parse({}), epochs: 2, seed: 7, learningRate: 0.00025 },
      },
    },
  });
});

test("OpenAI's DPO reads pairs and takes its beta", () => {
  const method = { type: "dpo", dpo: { hyperparameters: { beta: 0.3 } } };
  const asked = openAiJobInput.parse({ model: "tiny", training_file: "file-1", method });
  expect(fromOpenAi(asked, data("prompt", "chosen", "rejected"), fresh)).toMatchObject({
    value: { config: { dataKind: "preference", hyperparameters: { method: "dpo", beta: 0.3 } } },
  });
  expect(fromOpenAi(asked, data("messages"), fresh)).toMatchObject({ ok: false, field: "training_file" });
});

test.each([
  ["an unknown key", { n_epoch: 1 }, "n_epoch"],
  ["a validation file", { validation_file: "file-2" }, "Put a column `split` into the training file"],
  ["an integration", { integrations: [{ type: "wandb" }] }, "No integration is supported here."],
  ["reinforcement", { method: { type: "reinforcement" } }, "Grove trains the methods supervised and dpo."],
  ["a rank out of range", { rank: 65 }, "<=64"],
  ["too much metadata", { metadata: Object.fromEntries(numbers(17).map((i) => [`k${i}`, "v"])) }, "at most 16 pairs"],
])("OpenAI's door refuses %s, and says why", (_name, change, words) => {
  const parsed = openAiJobInput.safeParse({ model: "tiny", training_file: "file-1", ...change });
  expect(parsed.error?.message).toContain(words);
});

test("OpenAI's model may be an adapter, which is then gone on from with its own form; metadata is kept", () => {
  const asked = openAiJobInput.parse({ model: "sums/3", training_file: "file-1", metadata: { team: "search" } });
  expect(fromOpenAi(asked, data("messages"), { settings, start })).toMatchObject({
    ok: true,
    value: { metadata: { team: "search" }, config: { baseModel: "tiny", hyperparameters: goingOn } },
  });
});

test("a model whose place the installed base takes is trained on that base, by either door", () => {
  const model = "mistralai/Mistral-7B-v0.1";
  const openAi = fromOpenAi(openAiJobInput.parse({ model, training_file: "file-1" }), data("messages"), fresh);
  expect(openAi).toMatchObject({ value: { config: { baseModel: "tiny" } } });
  const predibase = fromPredibase(predibaseConfig.parse({ base_model: model }), profile("messages"), fresh);
  expect(predibase).toMatchObject({ value: { baseModel: "tiny" } });
});

test("Predibase's SFTConfig has Predibase's defaults; train_steps wins over epochs", () => {
  const config = predibaseConfig.parse({ base_model: "tiny", train_steps: 40, epochs: 2, apply_chat_template: true });
  expect(fromPredibase(config, profile("prompt", "completion", "split"), fresh)).toMatchObject({
    ok: true,
    value: {
      promptFormat: "chat",
      targetColumn: "completion",
      hyperparameters: { rank: 16, learningRate: 2e-4, maxSteps: 40, batchSize: 16, earlyStoppingPatience: 3 },
    },
  });
  const pretraining = predibaseConfig.parse({ base_model: "tiny", task: "continued_pretraining" });
  expect(fromPredibase(pretraining, profile("text"), fresh)).toMatchObject({
    value: { dataKind: "text", targetColumn: "text" },
  });
  expect(fromPredibase(pretraining, profile("prompt", "completion"), fresh)).toMatchObject({ ok: false });
});

test("Predibase's continue_from_version keeps the adapter's base and form, but for what is said", () => {
  const config = predibaseConfig.parse({ lr_scheduler: { type: "linear" }, optimizer: { type: "adamw_8bit" } });
  expect(fromPredibase(config, profile("messages"), { settings, start })).toMatchObject({
    ok: true,
    value: { baseModel: "tiny", hyperparameters: { ...goingOn, scheduler: "linear", optimizer: "adamw_8bit" } },
  });
  const other = predibaseConfig.parse({ rank: 32 });
  expect(fromPredibase(other, profile("messages"), { settings, start })).toMatchObject({
    value: { hyperparameters: { rank: 32, continueFrom: "sums/3" } },
  });
  expect(fromPredibase(other, profile("messages"), fresh)).toMatchObject({ ok: false, field: "config.base_model" });
});

test.each([
  ["adapter", { adapter: "turbo" }, "plain LoRA"],
  ["task", { task: "classification" }, "sft and continued_pretraining"],
  ["lr_scheduler", { lr_scheduler: { type: "wsd" } }, "cosine, linear, constant"],
  ["optimizer", { optimizer: { type: "muon" } }, "adamw_8bit"],
  ["rewardFns", { rewardFns: {} }, "belongs to GRPO"],
  ["num_generations", { num_generations: 4 }, "belongs to GRPO"],
  ["colour", { colour: "red" }, "colour"],
])("Predibase's door refuses %s, and says why", (key, change, words) => {
  const issue = predibaseConfig.safeParse({ base_model: "tiny", ...change }).error?.issues[0];
  expect(issue?.code === "unrecognized_keys" ? issue.keys[0] : issue?.path[0]).toBe(key);
  expect(issue?.message).toContain(words);
});
