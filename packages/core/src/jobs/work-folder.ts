import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Split } from "@grove/contracts/datasets";
import type { JobConfig } from "@grove/contracts/jobs";
import type { TrainerGroupSpec, TrainerSpec } from "@grove/contracts/trainer";
import type { Dataset } from "@grove/db";
import { z } from "zod";
import type { CoreSettings, Services } from "../context.ts";
import { type Rendered, renderRows } from "../datasets/examples.ts";

/** What one job leaves on this machine while it runs. A later attempt finds the checkpoints of the one before. */
export type WorkFolder = { path: string; specFile: string; output: string; checkpoints: string; trainerFile: string };

export function workFolder(settings: CoreSettings, jobId: string): WorkFolder {
  return folderAt(join(settings.workFolder, "jobs", jobId));
}

export function quoteFolder(settings: CoreSettings, quoteId: string): WorkFolder {
  return folderAt(join(settings.workFolder, "quotes", quoteId));
}

function folderAt(path: string): WorkFolder {
  return {
    path,
    specFile: join(path, "spec.json"),
    output: join(path, "adapter"),
    checkpoints: join(path, "checkpoints"),
    trainerFile: join(path, "trainer.json"),
  };
}

export async function removeWorkFolder(folder: WorkFolder): Promise<void> {
  await rm(folder.path, { recursive: true, force: true });
}

export type Preparation = {
  jobId: string;
  attempt: number;
  dataset: Dataset;
  config: JobConfig;
  start: string | null; // the folder of the adapter to go on from
};

/** Renders the rows and writes the spec. `check` throws where the job is not to go on. */
export async function prepareWorkFolder(
  services: Services,
  job: Preparation,
  folder: WorkFolder,
  check: () => void,
): Promise<void> {
  await mkdir(folder.path, { recursive: true });
  await endFormerTrainer(folder);
  const group: TrainerGroupSpec = { version: 1, jobs: [await renderSpec(services, job, folder, check)] }; // others may join it
  await writeFile(folder.specFile, JSON.stringify(group, null, 2));
}

/** Writes the rows as the trainer reads them; the spec that names them. */
export async function renderSpec(
  services: Services,
  job: Preparation,
  folder: WorkFolder,
  check: () => void,
): Promise<TrainerSpec> {
  const trainFile = join(folder.path, "train.jsonl");
  const validationFile = join(folder.path, "validation.jsonl");
  const rows = (split: Split): AsyncIterable<Rendered> => renderRows(services, job.dataset, job.config, split);
  await writeExamples(trainFile, rows("train"), check);
  const validationRows = await writeExamples(validationFile, rows("validation"), check);
  return toSpec(services.settings, job, folder, {
    trainFile,
    validationFile: validationRows === 0 ? null : validationFile,
  });
}

/** Rows without an answer are left to the trainer, which leaves them out and says how many; a validation file of nothing else is none. */
async function writeExamples(path: string, rows: AsyncIterable<Rendered>, check: () => void): Promise<number> {
  const partial = `${path}.partial`;
  const file = createWriteStream(partial);
  const done = finished(file);
  done.catch(() => undefined); // seen below, where it is awaited
  let answered = 0;
  for await (const { row, completion } of rows) {
    check();
    if (completion.trim() !== "") answered++;
    if (!file.write(`${JSON.stringify(row)}\n`)) await Promise.race([once(file, "drain"), done]);
  }
  file.end();
  await done;
  await rename(partial, path);
  return answered;
}

function toSpec(
  settings: CoreSettings,
  job: Preparation,
  folder: WorkFolder,
  files: { trainFile: string; validationFile: string | null },
): TrainerSpec {
  const knobs = job.config.hyperparameters;
  return {
    version: 1,
    job_id: job.jobId,
    attempt: job.attempt,
    base_model: settings.baseModel,
    train_file: files.trainFile,
    validation_file: files.validationFile,
    output_dir: folder.output,
    checkpoint_dir: folder.checkpoints,
    prompt_format: job.config.promptFormat,
    adapter: {
      rank: knobs.rank,
      alpha: knobs.alpha ?? 2 * knobs.rank,
      dropout: knobs.dropout,
      target_modules: [...new Set(knobs.targetModules)],
      use_rslora: knobs.useRslora,
      use_dora: knobs.useDora,
      init_adapter: job.start,
    },
    training: {
      epochs: knobs.epochs,
      max_steps: knobs.maxSteps,
      max_seconds: knobs.maxSeconds,
      batch_size: knobs.batchSize,
      learning_rate: knobs.learningRate,
      scheduler: knobs.scheduler,
      warmup_ratio: knobs.warmupRatio,
      weight_decay: knobs.weightDecay,
      max_grad_norm: knobs.maxGradNorm,
      max_length: knobs.maxLength,
      evaluate_every_steps: knobs.evaluateEverySteps,
      checkpoint_every_steps: knobs.checkpointEverySteps,
      early_stopping_patience: knobs.earlyStoppingPatience,
      seed: knobs.seed,
      optimizer: knobs.optimizer,
      neftune_alpha: knobs.neftuneAlpha,
      method: knobs.method,
      beta: knobs.beta,
    },
    data_kind: job.config.dataKind === "template" ? "completion" : job.config.dataKind,
    quantization: knobs.quantization === "none" ? null : { bits: knobs.quantization === "nf4" ? 4 : 8 },
    device: "auto",
  };
}

const trainerRecord = z.strictObject({ pid: z.int().positive(), specFile: z.string() });
type TrainerRecord = z.infer<typeof trainerRecord>;

export async function recordTrainer(folder: WorkFolder, trainer: TrainerRecord): Promise<void> {
  await writeFile(folder.trainerFile, JSON.stringify(trainer));
}

/** The job has left its trainer, which may go on with others. */
export async function forgetTrainer(folder: WorkFolder): Promise<void> {
  await rm(folder.trainerFile, { force: true });
}

/** The trainer of a worker that was killed stops by itself, but only at its next step; two at once would share the checkpoints. */
async function endFormerTrainer(folder: WorkFolder): Promise<void> {
  const text = await readFile(folder.trainerFile, "utf8").catch(() => null);
  if (text === null) return;
  const record = trainerRecord.safeParse(parseJson(text));
  if (record.success && (await isAlive(record.data))) {
    process.kill(record.data.pid, "SIGKILL");
    while (await isAlive(record.data)) await sleep(20);
  }
  await forgetTrainer(folder);
}

/** Pids are used again: only a process that was started with this very spec file is ours. */
async function isAlive(trainer: TrainerRecord): Promise<boolean> {
  const commandLine = await readFile(`/proc/${trainer.pid}/cmdline`, "utf8").catch(() => "");
  return commandLine.split("\0").includes(trainer.specFile);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
