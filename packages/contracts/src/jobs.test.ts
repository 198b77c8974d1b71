import { describe, expect, it } from "vitest";
import { createJobInput, jobConfig } from "./jobs.ts";

const config = { baseModel: "m", promptTemplate: "{a}", targetColumn: "b", hyperparameters: {} };

describe("jobConfig", () => {
  it("fills in every default, so that what is stored is what runs", () => {
    const { hyperparameters } = jobConfig.parse(config);
    expect(hyperparameters).toMatchObject({
      rank: 8,
      epochs: 3,
      batchSize: 16,
      scheduler: "cosine",
      maxLength: null,
      seed: 42,
    });
  });

  it("names an unknown hyperparameter instead of ignoring it", () => {
    const result = jobConfig.safeParse({ ...config, hyperparameters: { learning_rate: 1 } });
    expect(result.success).toBe(false);
    expect(result.error?.issues[0]).toMatchObject({ code: "unrecognized_keys", keys: ["learning_rate"] });
  });

  it.each([
    { rank: 0 },
    { rank: 65 },
    { epochs: 0 },
    { learningRate: 0 },
    { batchSize: 1.5 },
    { targetModules: [] },
    { dropout: 1 },
  ])("refuses %j", (wrong) => {
    expect(jobConfig.safeParse({ ...config, hyperparameters: wrong }).success).toBe(false);
  });
});

describe("createJobInput", () => {
  it("refuses a repository name that would not fit a URL", () => {
    const result = createJobInput.safeParse({ datasetId: crypto.randomUUID(), repository: "../up", config });
    expect(result.error?.issues[0]?.path).toEqual(["repository"]);
  });
});
