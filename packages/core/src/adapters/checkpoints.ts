import { stat } from "node:fs/promises";
import { join } from "node:path";
import { adapterFileNames, type CheckpointView } from "@grove/contracts/adapters";
import { ok, type Result } from "@grove/contracts/errors";
import { metrics } from "@grove/contracts/evals";
import { jobConfig } from "@grove/contracts/jobs";
import { checkpointScore } from "@grove/contracts/messages";
import type { Job } from "@grove/db";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";
import { findJob } from "../jobs/read.ts";
import { adapterFileKey, storeAdapterFiles } from "./files.ts";

type Checkpoint = { step: number; sha256: string; path: string };
const KEPT = 20; // of one job

/** Makes a checkpoint that the trainer wrote an adapter that can be asked for, within the second. The oldest ones go. */
export async function storeCheckpoint(
  services: Services,
  job: Pick<Job, "id" | "repositoryId" | "config">,
  { step, sha256, path }: Checkpoint,
): Promise<void> {
  const stored = await storeAdapterFiles(services, sha256, path); // throws where the trainer has made room for newer ones
  if (!stored.ok) return; // a checkpoint is not worth a job
  const bytes = (await stat(join(path, "adapter_model.safetensors"))).size;
  const { id: jobId, repositoryId } = job;
  const name = checkpointName(jobId, step);
  const made = await services.db.adapterCheckpoint.upsert({
    where: { repositoryId_name: { repositoryId, name } },
    create: { jobId, repositoryId, name, step, sha256, bytes },
    update: { sha256, bytes }, // a resumed run wrote it again
  });
  if (jobConfig.parse(job.config).hyperparameters.scoreRows > 0)
    await services.queues.send(checkpointScore, { checkpointId: made.id });
  const old = await services.db.adapterCheckpoint.findMany({ where: { jobId }, orderBy: { step: "desc" }, skip: KEPT });
  for (const { id, sha256: hash } of old) {
    await services.db.adapterCheckpoint.delete({ where: { id } });
    await removeUnusedFiles(services, hash);
  }
}

/** Newest first. */
export async function listCheckpoints(ctx: OrgCtx, jobId: string): Promise<Result<CheckpointView[], "job_not_found">> {
  const job = await findJob(ctx, jobId);
  if (!job.ok) return job;
  const rows = await ctx.db.adapterCheckpoint.findMany({ where: { jobId }, orderBy: { step: "desc" } });
  const { repository, datasetId } = job.value;
  const config = jobConfig.parse(job.value.config);
  return ok(
    rows.map(({ id, name, step, sha256, bytes, metric, score, createdAt }) => ({
      id,
      adapterId: `${repository.name}/${name}`,
      jobId,
      step,
      sha256,
      bytes: Number(bytes),
      baseModel: config.baseModel,
      config,
      datasetId,
      score: score === null ? null : { metric: z.enum(metrics).parse(metric), value: score },
      createdAt,
    })),
  );
}

/** The end of the job's id is random; its beginning is the time, which jobs of one sweep share. */
function checkpointName(jobId: string, step: number): string {
  return `${jobId.slice(-8)}-step-${step}`;
}

/** The last checkpoint of a run may be its published version too. */
async function removeUnusedFiles(services: Services, sha256: string): Promise<void> {
  const versions = await services.db.adapterVersion.count({ where: { sha256 } });
  const checkpoints = await services.db.adapterCheckpoint.count({ where: { sha256 } });
  if (versions + checkpoints > 0) return;
  for (const name of adapterFileNames) await services.storage.delete(adapterFileKey(sha256, name));
}
