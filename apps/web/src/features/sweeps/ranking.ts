import type { JobView } from "@grove/contracts/jobs";
import type { SweepView } from "@grove/contracts/sweeps";

type Run = SweepView["runs"][number];

/** By which runs are compared; the training loss where the data set has no validation rows. */
export function lossOf(job: JobView): number | null {
  return job.result === null ? null : (job.result.validationLoss ?? job.result.trainLoss);
}

/** Finished runs first, the lowest loss leading; the others in the order of the grid. */
export function byLoss(runs: Run[]): Run[] {
  return runs.toSorted((a, b) => (lossOf(a.job) ?? Infinity) - (lossOf(b.job) ?? Infinity) || 0);
}

/** Null until there are two to compare. */
export function bestRun(runs: Run[]): Run | null {
  const finished = byLoss(runs).filter((run) => lossOf(run.job) !== null);
  return finished.length < 2 ? null : (finished[0] ?? null);
}
