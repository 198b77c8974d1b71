// The configuration of the published LoRA Land collection, as it was published.
import { setTimeout as sleep } from "node:timers/promises";
import { createJobInput } from "@grove/contracts/jobs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alone, createTestWorld, readyDataset, type TestWorld, writeTinyBase } from "../testing.ts";
import { cancelJob } from "./cancel-job.ts";
import { createJob } from "./create-job.ts";
import { parseLudwig } from "./ludwig.ts";
import { getJob, listJobEvents } from "./read.ts";
import { runJob } from "./run-job.ts";

let world: TestWorld;
let datasetId: string;
beforeAll(async () => {
  world = await createTestWorld({ baseAliases: ["mistralai/Mistral-7B-v0.1"] });
  await writeTinyBase(world);
  const rows = Array.from({ length: 48 }, (_, i) => ({
    prompt: `message ${i}`,
    completion: i % 2 === 0 ? "refund" : "cancel",
    split: i < 40 ? "train" : "validation",
  }));
  datasetId = (await readyDataset(world, "a.jsonl", rows.map((row) => `${JSON.stringify(row)}\n`).join(""))).id;
}, 60_000);
afterAll(() => world.close());

const loraLand = `model_type: llm
base_model: mistralai/Mistral-7B-v0.1
input_features:
  - name: prompt
    type: text
    preprocessing:
      max_sequence_length: 1194
output_features:
  - name: completion
    type: text
    preprocessing:
      max_sequence_length: 2
prompt:
  template: >-
    Consider the case of a customer contacting the support center.

    ### Message: {prompt}

    ### Intent:
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

test("every key is taken over, and the base is the one that the installation puts in its place", async () => {
  const parsed = await parseLudwig(world.ctx, { datasetId, yaml: loraLand });
  expect(parsed).toMatchObject({
    ok: true,
    config: {
      baseModel: "tiny",
      promptTemplate:
        "Consider the case of a customer contacting the support center.\n### Message: {prompt}\n### Intent:",
      targetColumn: "completion",
      promptFormat: "raw",
      hyperparameters: {
        rank: 8,
        alpha: null,
        targetModules: ["v_proj", "q_proj"],
        optimizer: "adam",
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
  const notes = parsed.ok ? parsed.notes.join("\n") : "";
  expect(notes).toContain("mistralai/Mistral-7B-v0.1 is replaced by tiny");
  expect(notes).toContain("train_steps: 40000");
});

test("it trains as it stands", async () => {
  const parsed = await parseLudwig(world.ctx, { datasetId, yaml: loraLand });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const job = await createJob(
    world.ctx,
    createJobInput.parse({ datasetId, repository: "land", config: parsed.config }),
  );
  if (!job.ok) throw new Error(job.message);
  const running = runJob(
    world.services,
    alone(world.services),
    { jobId: job.value.id, attempt: 1 },
    new AbortController().signal,
  );
  const told = await steps(job.value.id);
  await cancelJob(world.ctx, job.value.id); // the other 39,995 steps are like these
  await running;
  expect(told.started).toMatchObject({ train_rows: 40, total_steps: 3_000 }); // 1,000 passes over 40 rows come before 40,000 steps
  expect(told.losses.length).toBeGreaterThanOrEqual(5);
  expect(told.losses.every(Number.isFinite)).toBe(true);
  expect(await getJob(world.ctx, job.value.id)).toMatchObject({ value: { status: "cancelled", error: null } });
}, 120_000);

async function steps(jobId: string) {
  for (let i = 0; i < 1200; i++) {
    const events = (await listJobEvents(world.ctx, { jobId, afterSeq: 0, limit: 2000 })).map(({ event }) => event);
    const losses = events.flatMap((event) =>
      typeof event === "object" && event !== null && "loss" in event ? [Number(event.loss)] : [],
    );
    if (losses.length >= 5) return { started: events[0], losses };
    await sleep(50);
  }
  throw new Error("waited a minute in vain");
}
