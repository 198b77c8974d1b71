import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Split } from "@grove/contracts/datasets";
import type { JobConfig } from "@grove/contracts/jobs";
import type { TrainerSpec } from "@grove/contracts/trainer";
import type { Dataset } from "@grove/db";
import { z } from "zod";
import type { CoreSettings, Services } from "../context.ts";
import { type Rendered, renderRows } from "../datasets/template.ts";

/** What one job leaves on this machine while it runs. A later attempt finds the checkpoints of the one before. */
export type WorkFolder = { path: string; specFile: string; output: string; checkpoints: string; childFile: string };

export function workFolder(settings: CoreSettings, jobId: string): WorkFolder {
  const path = join(settings.workFolder, "jobs", jobId);
  return {
    path,
    specFile: join(path, "spec.json"),
    output: join(path, "adapter"),
    checkpoints: join(path, "checkpoints"),
    childFile: join(path, "child.json"),
  };
}

export async function removeWorkFolder(folder: WorkFolder): Promise<void> {
  await rm(folder.path, { recursive: true, force: true });
}

export type Preparation = { jobId: string; attempt: number; dataset: Dataset; config: JobConfig };

/** Renders the rows and writes the spec. `check` throws where the job is not to go on. */
export async function prepareWorkFolder(
  services: Services,
  job: Preparation,
  folder: WorkFolder,
  check: () => void,
): Promise<void> {
  await mkdir(folder.path, { recursive: true });
  await endFormerChild(folder);
  const trainFile = join(folder.path, "train.jsonl");
  const validationFile = join(folder.path, "validation.jsonl");
  const rows = (split: Split): AsyncIterable<Rendered> => renderRows(services, job.dataset, job.config, split);
  await writeExamples(trainFile, rows("train"), check);
  const validationRows = await writeExamples(validationFile, rows("validation"), check);
  const spec = toSpec(services.settings, job, folder, {
    trainFile,
    validationFile: validationRows === 0 ? null : validationFile,
  });
  await writeFile(folder.specFile, JSON.stringify(spec, null, 2));
}

/** Rows without an answer are left to the trainer, which leaves them out and says how many; a validation file of nothing else is none. */
async function writeExamples(path: string, rows: AsyncIterable<Rendered>, check: () => void): Promise<number> {
  const partial = `${path}.partial`;
  const file = createWriteStream(partial);
  const done = finished(file);
  done.catch(() => undefined); // seen below, where it is awaited
  let answered = 0;
  for await (const { prompt, completion } of rows) {
    check();
    if (completion.trim() !== "") answered++;
    if (!file.write(`${JSON.stringify({ prompt, completion })}\n`)) await Promise.race([once(file, "drain"), done]);
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
    },
    device: "auto",
  };
}

const childRecord = z.strictObject({ pid: z.int().positive() });

export async function recordChild(folder: WorkFolder, pid: number): Promise<void> {
  await writeFile(folder.childFile, JSON.stringify({ pid }));
}

/** The trainer of a worker that was killed stops by itself, but only at its next step; two at once would share the checkpoints. */
async function endFormerChild(folder: WorkFolder): Promise<void> {
  const text = await readFile(folder.childFile, "utf8").catch(() => null);
  if (text === null) return;
  const record = childRecord.safeParse(parseJson(text));
  if (record.success && (await isTrainerOf(record.data.pid, folder))) {
    process.kill(record.data.pid, "SIGKILL");
    while (await isTrainerOf(record.data.pid, folder)) await sleep(20);
  }
  await rm(folder.childFile, { force: true });
}

/** Pids are used again: only a process that was started with this very spec file is ours. */
async function isTrainerOf(pid: number, folder: WorkFolder): Promise<boolean> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return commandLine.split("\0").includes(folder.specFile);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
