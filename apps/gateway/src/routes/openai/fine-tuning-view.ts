import type { CheckpointView } from "@grove/contracts/adapters";
import type { JobEventView, JobStatus, JobView } from "@grove/contracts/jobs";
import { hyperparameters } from "@grove/contracts/jobs";
import { type TrainerEvent, trainerEvent } from "@grove/contracts/trainer";
import { seconds } from "./pages.ts";

const statuses: Record<JobStatus, string> = {
  queued: "queued",
  preparing: "running",
  training: "running",
  publishing: "running",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
};

export function toFineTuningJob(job: JobView, orgSlug: string) {
  const h = job.config.hyperparameters;
  const multiplier = h.learningRate / hyperparameters.parse({}).learningRate;
  const values = {
    n_epochs: h.epochs,
    batch_size: h.batchSize,
    learning_rate_multiplier: Number(multiplier.toPrecision(6)),
  };
  const method =
    h.method === "sft"
      ? { type: "supervised", supervised: { hyperparameters: values } }
      : { type: h.method, [h.method]: { hyperparameters: { ...values, beta: h.beta } } };
  const left = job.progress?.secondsLeft ?? null;
  return {
    id: `ftjob-${job.id}`,
    object: "fine_tuning.job",
    created_at: seconds(job.createdAt),
    finished_at: job.finishedAt === null ? null : seconds(job.finishedAt),
    estimated_finish: job.status === "training" && left !== null ? Math.floor(Date.now() / 1000 + left) : null,
    model: job.config.baseModel,
    fine_tuned_model: job.adapterId,
    organization_id: orgSlug,
    status: job.paused && job.status === "training" ? "paused" : statuses[job.status],
    training_file: `file-${job.dataset.id}`,
    validation_file: null,
    result_files: [],
    hyperparameters: values,
    method,
    seed: h.seed,
    trained_tokens: job.result?.trainTokens ?? null,
    error: job.error === null ? null : { ...job.error, param: null },
    integrations: [],
    metadata: job.metadata,
  };
}

/** Null for what OpenAI's clients have no word for. */
export function toFineTuningEvent(jobId: string, { seq, createdAt, event }: JobEventView) {
  const parsed = trainerEvent.safeParse(event);
  const said = parsed.success ? describe(parsed.data) : null;
  if (said === null) return null;
  return {
    id: `ftevent-${jobId}-${seq}`,
    object: "fine_tuning.job.event",
    created_at: seconds(createdAt),
    level: said.level ?? "info",
    message: said.message,
    type: said.data === undefined ? "message" : "metrics",
    data: said.data ?? {},
  };
}

type Said = { message: string; level?: "warn" | "error"; data?: Record<string, number> };

function describe(event: TrainerEvent): Said | null {
  switch (event.event) {
    case "started":
      return { message: `Training started on ${event.train_rows} rows, ${event.total_steps} steps` };
    case "step":
      return {
        message: `Step ${event.step}/${event.total_steps}: training loss=${event.loss.toFixed(4)}`,
        data: { step: event.step, total_steps: event.total_steps, train_loss: event.loss },
      };
    case "validation":
      return {
        message: `Step ${event.step}: validation loss=${event.loss.toFixed(4)}`,
        data: { step: event.step, valid_loss: event.loss },
      };
    case "checkpoint":
      return { message: `Checkpoint created at step ${event.step}` };
    case "warning":
      return { level: "warn", message: event.message };
    case "finished":
      return { message: "The job has successfully completed" };
    case "failed":
      return { level: "error", message: event.message };
    default:
      return null;
  }
}

/** With the losses that were told of its step. */
export function toFineTuningCheckpoint(checkpoint: CheckpointView, events: JobEventView[]) {
  const { step } = checkpoint;
  const told = events.flatMap(({ event }) => {
    const parsed = trainerEvent.safeParse(event);
    return parsed.success ? [parsed.data] : [];
  });
  const train = told.findLast((event) => event.event === "step" && event.step === step);
  const valid = told.findLast((event) => event.event === "validation" && event.step === step);
  return {
    id: `ftckpt-${checkpoint.id}`,
    object: "fine_tuning.job.checkpoint",
    created_at: seconds(checkpoint.createdAt),
    fine_tuned_model_checkpoint: checkpoint.adapterId,
    fine_tuning_job_id: `ftjob-${checkpoint.jobId}`,
    step_number: step,
    metrics: {
      step,
      ...(train?.event === "step" ? { train_loss: train.loss } : {}),
      ...(valid?.event === "validation" ? { valid_loss: valid.loss } : {}),
    },
  };
}
