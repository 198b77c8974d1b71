import type { ColumnProfile, DatasetProfile } from "@grove/contracts/datasets";
import { hyperparameters } from "@grove/contracts/jobs";
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
  expect(fromOpenAi(asked, data("messages"))).toMatchObject({
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
  expect(fromOpenAi(asked, data("prompt", "chosen", "rejected"))).toMatchObject({
    value: { config: { dataKind: "preference", hyperparameters: { method: "dpo", beta: 0.3 } } },
  });
  expect(fromOpenAi(asked, data("messages"))).toMatchObject({ ok: false, field: "training_file" });
});

test.each([
  ["an unknown key", { n_epoch: 1 }],
  ["a validation file", { validation_file: "file-2" }],
  ["an integration", { integrations: [{ type: "wandb" }] }],
  ["reinforcement", { method: { type: "reinforcement" } }],
  ["a rank out of range", { rank: 65 }],
])("OpenAI's door refuses %s", (_name, change) => {
  expect(openAiJobInput.safeParse({ model: "tiny", training_file: "file-1", ...change }).success).toBe(false);
});

test("Predibase's SFTConfig has Predibase's defaults; train_steps wins over epochs", () => {
  const config = predibaseConfig.parse({ base_model: "tiny", train_steps: 40, epochs: 2, apply_chat_template: true });
  expect(fromPredibase(config, profile("prompt", "completion", "split"))).toMatchObject({
    ok: true,
    value: {
      promptFormat: "chat",
      targetColumn: "completion",
      hyperparameters: { rank: 16, learningRate: 2e-4, maxSteps: 40, batchSize: 16, earlyStoppingPatience: 3 },
    },
  });
  const pretraining = predibaseConfig.parse({ base_model: "tiny", task: "continued_pretraining" });
  expect(fromPredibase(pretraining, profile("text"))).toMatchObject({
    value: { dataKind: "text", targetColumn: "text" },
  });
  expect(fromPredibase(pretraining, profile("prompt", "completion"))).toMatchObject({ ok: false });
  expect(predibaseConfig.safeParse({ base_model: "tiny", adapter: "turbo" }).error?.message).toContain("plain LoRA");
});
