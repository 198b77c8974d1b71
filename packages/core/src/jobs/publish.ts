import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { jobConfig } from "@grove/contracts/jobs";
import { type TrainerEvent, trainerEvent } from "@grove/contracts/trainer";
import type { Job } from "@grove/db";
import { Prisma } from "@grove/db";
import { storeAdapterFiles } from "../adapters/files.ts";
import type { Services } from "../context.ts";
import { recordUsage } from "../usage/record.ts";
import { quotedTokens } from "./quote-job.ts";
import { moveJob } from "./status.ts";
import { trainingKey } from "./view.ts";
import type { WorkFolder } from "./work-folder.ts";

export type Finished = Extract<TrainerEvent, { event: "finished" }>;
type Publication = { job: Job & { repository: { baseModel: string } }; finished: Finished; folder: WorkFolder };

/** The files first, under their hash; then version, bill and status in one transaction. False: another attempt has taken over. */
export async function publish(
  services: Services,
  { job, finished, folder }: Publication,
): Promise<Result<boolean, "trainer_failed" | "storage_full">> {
  if (!(await hasAdapter(folder, finished)))
    return fail(
      "trainer_failed",
      `The trainer's adapter folder does not have the hash ${finished.sha256} that it reported.`,
    );
  const stored = await storeAdapterFiles(services, finished.sha256, folder.output);
  if (!stored.ok) return stored;
  return ok(await settle(services, job, finished));
}

/** Whether the folder holds the very adapter that the trainer reported. */
export async function hasAdapter(folder: WorkFolder, finished: Finished): Promise<boolean> {
  const hash = createHash("sha256");
  for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
    const path = join(folder.output, name);
    if ((await stat(path).catch(() => null)) === null) return false;
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  }
  return hash.digest("hex") === finished.sha256;
}

/** What an earlier attempt reported before it was lost on the way to publishing. */
export async function finishedBefore(services: Services, jobId: string, folder: WorkFolder): Promise<Finished | null> {
  const row = await services.db.jobEvent.findFirst({
    where: { jobId, event: { path: ["event"], equals: "finished" } },
    orderBy: { seq: "desc" },
  });
  const event = trainerEvent.safeParse(row?.event);
  if (!event.success || event.data.event !== "finished") return null;
  return (await hasAdapter(folder, event.data)) ? event.data : null;
}

async function settle(services: Services, job: Publication["job"], finished: Finished): Promise<boolean> {
  const { sha256, bytes, train_loss: trainLoss, validation_loss: validationLoss, seconds } = finished;
  const trainTokens = BigInt(finished.tokens);
  const { orgId, repositoryId, id: jobId, attempt, datasetId } = job;
  const quoted = await quotedTokens(services, orgId, { datasetId, config: jobConfig.parse(job.config) });
  return services.db.$transaction(async (tx) => {
    const moved = await moveJob(tx, jobId, {
      from: ["publishing"],
      to: "succeeded",
      attempt,
      data: {
        finishedAt: new Date(),
        trainTokens,
        seconds,
        trainLoss,
        validationLoss,
        secondsLeft: 0,
        step: finished.steps,
      },
    });
    if (!moved) return false;
    await tx.$queryRaw`SELECT id FROM repositories WHERE id = ${repositoryId}::uuid FOR UPDATE`; // one version number at a time
    const { _max } = await tx.adapterVersion.aggregate({ where: { repositoryId }, _max: { version: true } });
    const version = await tx.adapterVersion.create({
      data: {
        orgId,
        repositoryId,
        jobId,
        version: (_max.version ?? 0) + 1,
        sha256,
        bytes,
        config: job.config ?? Prisma.JsonNull,
        trainLoss,
        validationLoss,
      },
    });
    await recordUsage(tx, {
      kind: "training",
      orgId,
      idempotencyKey: trainingKey(jobId),
      baseModel: job.repository.baseModel,
      adapterVersionId: version.id,
      jobId,
      trainTokens: quoted !== null && quoted < trainTokens ? quoted : trainTokens, // never more than was said before
      trainSeconds: seconds,
    });
    return true;
  });
}
