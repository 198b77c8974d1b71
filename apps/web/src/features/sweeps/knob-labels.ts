import type { SweepKnob } from "@grove/contracts/sweeps";

export const knobLabels: Record<SweepKnob, string> = {
  learningRate: "Learning rate",
  rank: "Rank",
  epochs: "Epochs",
  batchSize: "Batch size",
  seed: "Seed",
};
