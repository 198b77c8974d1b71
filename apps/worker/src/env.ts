import type { CoreSettings } from "@grove/core/context";
import { loadCoreSettings } from "@grove/core/settings";
import { z } from "zod";

export type WorkerEnv = {
  core: CoreSettings;
  healthPort: number | null;
  lockMs: number;
  staleMs: number;
  sweepMs: number;
  trainerJobs: number;
  trainerProcesses: number;
};

const milliseconds = z.coerce.number().int().min(500).max(3_600_000);
const workerEnv = z.object({
  GROVE_WORKER_HEALTH_PORT: z.coerce.number().int().min(1).max(65_535).optional(),
  GROVE_WORKER_LOCK_MS: milliseconds.default(30_000), // how long the message of a lost worker stays unseen
  GROVE_WORKER_STALE_MS: milliseconds.default(15_000), // a running job without a beat for that long has lost its worker
  GROVE_WORKER_SWEEP_MS: milliseconds.default(5_000),
  GROVE_TRAINER_JOBS: z.coerce.number().int().min(1).max(64).default(4), // jobs that share one base and one step
  GROVE_TRAINER_PROCESSES: z.coerce.number().int().min(1).max(64).default(1), // that share the rows of each step: one for each GPU
});

export function loadEnv(): WorkerEnv {
  const core = loadCoreSettings(process.env);
  const own = workerEnv.parse(process.env);
  return {
    core,
    healthPort: own.GROVE_WORKER_HEALTH_PORT ?? null,
    lockMs: own.GROVE_WORKER_LOCK_MS,
    staleMs: own.GROVE_WORKER_STALE_MS,
    sweepMs: own.GROVE_WORKER_SWEEP_MS,
    trainerJobs: own.GROVE_TRAINER_JOBS,
    trainerProcesses: own.GROVE_TRAINER_PROCESSES,
  };
}
