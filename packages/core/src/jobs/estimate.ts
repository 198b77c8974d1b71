import type { Hyperparameters } from "@grove/contracts/jobs";
import { type Measured, percentile } from "../datasets/measure.ts";

type Knobs = Pick<Hyperparameters, "epochs" | "maxSteps" | "batchSize" | "maxLength">;

/** Training tokens as the trainer will count them: rows cut at the maximum length, each used as often as the steps ask for. */
export function trainingTokens(measured: Measured, knobs: Knobs): number {
  const asked =
    knobs.maxLength ??
    percentile(
      measured.rows.map((row) => row.total).sort((a, b) => a - b),
      0.95,
    );
  const limit = Math.min(asked, measured.contextLength);
  const kept = measured.rows.filter((row) => row.total <= limit || row.completion < limit);
  if (kept.length === 0) return 0;
  const scale = measured.trainable / measured.rows.length;
  const rows = Math.round(kept.length * scale);
  const perEpoch = kept.reduce((sum, row) => sum + Math.min(row.total, limit), 0) * scale;
  const stepsPerEpoch = Math.ceil(rows / knobs.batchSize);
  const byEpochs = Math.max(1, Math.ceil(knobs.epochs * stepsPerEpoch - 1e-9));
  const steps = knobs.maxSteps === null ? byEpochs : Math.min(byEpochs, knobs.maxSteps);
  const whole = Math.floor(steps / stepsPerEpoch);
  const restRows = Math.min(rows, (steps - whole * stepsPerEpoch) * knobs.batchSize);
  return Math.round(whole * perEpoch + (restRows / rows) * perEpoch);
}
