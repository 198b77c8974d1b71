// For tests: services on a database, a queue prefix and folders of their own, and an organisation to act for.
import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { cp, mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { DatasetView } from "@grove/contracts/datasets";
import { type Hyperparameters, jobConfig } from "@grove/contracts/jobs";
import { createTestDatabase } from "@grove/db/testing";
import { obliterate } from "@grove/queue";
import { type CoreSettings, closeServices, createServices, type OrgCtx, type Services } from "./context.ts";
import { ingestDataset } from "./datasets/ingest.ts";
import { getDataset } from "./datasets/read.ts";
import { uploadDataset } from "./datasets/upload-dataset.ts";
import { Trainers } from "./jobs/trainers.ts";

export type TestWorld = {
  services: Services;
  ctx: OrgCtx;
  otherCtx: OrgCtx;
  folder: string;
  close: () => Promise<void>;
};

export async function createTestWorld(settings: Partial<CoreSettings> = {}): Promise<TestWorld> {
  const [database, folder] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), "grove-core-"))]);
  const services = createServices({
    databaseUrl: database.url,
    redisUrl: process.env.REDIS_URL ?? "redis://127.0.0.1:4611",
    queuePrefix: `test-${randomUUID().slice(0, 8)}`,
    storageFolder: join(folder, "objects"),
    workFolder: join(folder, "work"),
    gatewayUrl: "http://127.0.0.1:1",
    servingUrl: "http://127.0.0.1:1",
    upstreams: {},
    internalSecret: "0123456789abcdef0123456789abcdef",
    baseModel: { id: "tiny", path: join(folder, "base") },
    baseAliases: [],
    python: join(import.meta.dirname, "../../../.venv/bin/python"),
    hubEndpoint: null,
    maxUploadBytes: 50_000_000,
    ...settings,
  });
  return {
    services,
    ctx: await organisation(services, "acme"),
    otherCtx: await organisation(services, "rival"),
    folder,
    async close() {
      await obliterate({ redisUrl: services.settings.redisUrl, prefix: services.settings.queuePrefix });
      await closeServices(services);
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function organisation(services: Services, slug: string): Promise<OrgCtx> {
  const org = await services.db.organisation.create({ data: { slug, name: slug } });
  return { ...services, orgId: org.id, orgSlug: slug, actor: { kind: "system" } };
}

export async function* bytesOf(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === "string" ? Buffer.from(part) : part;
}

const ROOT = join(import.meta.dirname, "../../..");
const PYTHONPATH = [join(ROOT, "apps/trainer"), join(ROOT, "packages/lora-py")].join(":");

/**
 * A tiny base model with random weights, made by the code that the trainer's own tests use, once a machine. Trainers that are
 * started from here find their packages.
 */
export async function writeTinyBase(world: TestWorld): Promise<void> {
  process.env.PYTHONPATH = PYTHONPATH;
  process.env.OMP_NUM_THREADS = "1"; // tiny tensors; threads would only wait for one another
  const { python, baseModel } = world.services.settings;
  const source = await readFile(join(ROOT, "packages/lora-py/lora_py/tiny_base.py"));
  const kept = join(tmpdir(), `grove-tiny-base-${createHash("sha256").update(source).digest("hex").slice(0, 16)}`);
  if ((await stat(kept).catch(() => null)) === null) {
    const made = join(world.folder, "tiny-base");
    await promisify(execFile)(python, ["-c", MAKE_TINY_BASE, made]);
    await rename(made, kept).catch(() => undefined); // another test file was first
  }
  await cp(kept, baseModel.path, { recursive: true });
}

const MAKE_TINY_BASE =
  "import sys, pathlib; from lora_py.tiny_base import write_tiny_base; write_tiny_base(pathlib.Path(sys.argv[1]))";

/** A ready data set, without a worker. */
export async function readyDataset(world: TestWorld, fileName: string, content: string): Promise<DatasetView> {
  const uploaded = await uploadDataset(world.ctx, { name: fileName, fileName, splitSeed: 42 }, bytesOf(content));
  if (!uploaded.ok) throw new Error(uploaded.message);
  await ingestDataset(world.services, uploaded.value.id);
  const read = await getDataset(world.ctx, uploaded.value.id);
  if (!read.ok || read.value.status !== "ready") throw new Error(JSON.stringify(read));
  return read.value;
}

/** The rows that a finished job leaves, without its files. */
export async function finishedVersion(
  world: TestWorld,
  about: { datasetId: string; repository: string; hyperparameters: Partial<Hyperparameters> },
): Promise<void> {
  const { orgId, db } = world.ctx;
  const config = jobConfig.parse({
    baseModel: "tiny",
    promptTemplate: "{text}",
    targetColumn: "intent",
    hyperparameters: about.hyperparameters,
  });
  const { datasetId, repository: name } = about;
  const { id: repositoryId } = await db.repository.create({ data: { orgId, name, baseModel: "tiny" } });
  const job = await db.job.create({ data: { orgId, datasetId, repositoryId, name, status: "succeeded", config } });
  const sha256 = createHash("sha256").update(name).digest("hex");
  await db.adapterVersion.create({
    data: { orgId, repositoryId, jobId: job.id, version: 1, sha256, bytes: 1, config, trainLoss: 1 },
  });
}

/** A trainer that nobody shares. */
export function alone(services: Services): Trainers {
  return new Trainers({ python: services.settings.python, most: 1, processes: 1 });
}

/** Small sums: 40 rows to train on, 8 to validate, in the columns `sum`, `answer` and `split`. */
export function sums(): string {
  return Array.from(
    { length: 48 },
    (_, i) =>
      `${JSON.stringify({ sum: `${i % 7} + ${i % 5}`, answer: String((i % 7) + (i % 5)), split: i < 40 ? "train" : "validation" })}\n`,
  ).join("");
}
