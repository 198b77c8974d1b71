// For tests: a data set of labels and sentences, and two adapters that were trained on it.
import { type CreateEvalRequest, createEvalInput, type EvalView } from "@grove/contracts/evals";
import { jobConfig } from "@grove/contracts/jobs";
import type { UsageEvent } from "@grove/db";
import { ingestDataset } from "../datasets/ingest.ts";
import { uploadDataset } from "../datasets/upload-dataset.ts";
import { labelConfig, makeTinyModels, publishAdapter, type TinyModels } from "../serving/testing.ts";
import { bytesOf, createTestWorld, type TestWorld } from "../testing.ts";
import { createEval } from "./create-eval.ts";
import { getEval } from "./read.ts";

export type EvalWorld = TestWorld & {
  models: TinyModels;
  datasetId: string;
  labels: string; // an adapter that answers with labels
  free: string; // one that answers with sentences
  upload: (text: string) => Promise<string>;
  created: (input: CreateEvalRequest) => Promise<EvalView>;
  read: (id: string) => Promise<EvalView>;
  usageOf: (evalId: string) => Promise<UsageEvent[]>;
};

export function rows(count: number, split: string): string {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 3 === 0 ? "no" : "yes";
    return `${JSON.stringify({ text: `row ${i} of ${split}`, label, story: `story number ${i} in ${split}`, split })}\n`;
  }).join("");
}

/** `open` starts what stands before the world: it is given the models and answers serving's address. */
export async function createEvalWorld(open: (models: TinyModels) => Promise<string>): Promise<EvalWorld> {
  const models = await makeTinyModels(2);
  const world = await createTestWorld({ servingUrl: await open(models), baseModel: models.base });

  async function upload(text: string): Promise<string> {
    const input = { name: "rows", fileName: "rows.jsonl", splitSeed: 1 };
    const uploaded = await uploadDataset(world.ctx, input, bytesOf(text));
    if (!uploaded.ok) throw new Error(uploaded.message);
    await ingestDataset(world.services, uploaded.value.id);
    return uploaded.value.id;
  }

  const datasetId = await upload(rows(30, "train") + rows(12, "test"));
  const [first, second] = models.adapters;
  if (!first || !second) throw new Error("not made");
  const config = jobConfig.parse({ ...labelConfig, promptTemplate: "Tell: {text}\n", targetColumn: "story" });
  return {
    ...world,
    models,
    datasetId,
    labels: await publishAdapter(world.ctx, first, { repository: "labels", datasetId }),
    free: await publishAdapter(world.ctx, second, { repository: "free", datasetId, config }),
    upload,
    async created(input) {
      const made = await createEval(world.ctx, createEvalInput.parse(input));
      if (!made.ok) throw new Error(made.message);
      return made.value;
    },
    async read(id) {
      const found = await getEval(world.ctx, id);
      if (!found.ok) throw new Error(found.message);
      return found.value;
    },
    usageOf: (evalId) =>
      world.services.db.usageEvent.findMany({ where: { evalId }, orderBy: { idempotencyKey: "asc" } }),
    async close() {
      await world.close();
      await models.remove();
    },
  };
}
