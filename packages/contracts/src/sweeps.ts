import { z } from "zod";
import { createJobInput, type Hyperparameters, hyperparameters, type JobView } from "./jobs.ts";

export const MOST_SWEEP_JOBS = 16;
export const sweepKnobs = ["learningRate", "rank", "epochs", "batchSize", "seed"] as const;
export type SweepKnob = (typeof sweepKnobs)[number];

/** Up to eight different values of a hyperparameter. */
function valuesOf<K extends SweepKnob>(knob: K) {
  return z
    .array(hyperparameters.shape[knob].unwrap())
    .min(1)
    .max(8)
    .refine((values) => new Set(values).size === values.length, "A value stands here twice.")
    .optional();
}

/** The values to try; every combination of them is a job. */
export const sweepGrid = z
  .strictObject({
    learningRate: valuesOf("learningRate"),
    rank: valuesOf("rank"),
    epochs: valuesOf("epochs"),
    batchSize: valuesOf("batchSize"),
    seed: valuesOf("seed"),
  })
  .refine((grid) => sweepKnobs.some((knob) => (grid[knob]?.length ?? 0) > 1), "Give at least one of them two values.")
  .refine(
    (grid) => sweepSize(grid) <= MOST_SWEEP_JOBS,
    `A sweep has at most ${MOST_SWEEP_JOBS} runs: take some values out.`,
  );
export type SweepGrid = { [K in SweepKnob]?: number[] | undefined };

/** How many jobs a grid makes. */
export function sweepSize(grid: SweepGrid): number {
  return sweepKnobs.reduce((size, knob) => size * (grid[knob]?.length ?? 1), 1);
}

/** The configurations of a grid, each with what sets it apart. */
export function sweepRuns(base: Hyperparameters, grid: SweepGrid): { values: SweepValues; knobs: Hyperparameters }[] {
  const combinations = sweepKnobs.reduce<SweepValues[]>(
    (before, knob) => {
      const values = grid[knob];
      return values === undefined
        ? before
        : before.flatMap((one) => values.map((value) => ({ ...one, [knob]: value })));
    },
    [{}],
  );
  return combinations.map((values) => ({ values, knobs: { ...base, ...values } }));
}
export type SweepValues = { [K in SweepKnob]?: number };

/** A job's input with a grid over it; the same key with the same input is the same sweep again. */
export const createSweepInput = createJobInput.extend({ grid: sweepGrid });
export type CreateSweepInput = z.infer<typeof createSweepInput>;

export type SweepView = {
  id: string;
  name: string;
  grid: SweepGrid;
  createdAt: Date;
  runs: { job: JobView; values: SweepValues }[];
};
export type SweepQuote = { runs: number; trainTokens: number; priceMicroUsd: bigint };
