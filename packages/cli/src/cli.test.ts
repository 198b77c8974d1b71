// The command as a person runs it, before a real gateway and a real worker.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createJobInput } from "@grove/contracts/jobs";
import { createToken } from "@grove/core/accounts/tokens";
import { ingestDataset } from "@grove/core/datasets/ingest";
import { getDataset } from "@grove/core/datasets/read";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import { createJob } from "@grove/core/jobs/create-job";
import { getJob } from "@grove/core/jobs/read";
import { freePort } from "@grove/core/serving/testing";
import { bytesOf, createTestWorld, sums, type TestWorld, writeTinyBase } from "@grove/core/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const GROVE = join(ROOT, "node_modules/.bin/grove");
let world: TestWorld;
let jobId: string;
let env: Record<string, string>;
const processes: ChildProcess[] = [];

beforeAll(async () => {
  const port = await freePort();
  world = await createTestWorld({ gatewayUrl: `http://127.0.0.1:${port}` });
  await writeTinyBase(world);
  const { settings, db } = world.services;
  const user = await db.user.create({ data: { email: "o@example.org", name: "o", passwordHash: "-" } });
  await db.membership.create({ data: { orgId: world.ctx.orgId, userId: user.id, role: "owner" } });
  const token = await createToken({ ...world.ctx, actor: { kind: "user", userId: user.id } }, { name: "cli" });
  if (!token.ok) throw new Error(token.message);
  env = {
    PATH: process.env.PATH ?? "",
    OMP_NUM_THREADS: "1",
    GROVE_URL: settings.gatewayUrl,
    GROVE_TOKEN: token.value.token,
    GROVE_BASE_MODEL_PATH: settings.baseModel.path,
  };
  const stack = {
    ...process.env,
    OMP_NUM_THREADS: "1",
    DATABASE_URL: settings.databaseUrl,
    REDIS_URL: settings.redisUrl,
    GROVE_STORAGE_DIR: settings.storageFolder,
    GROVE_WORK_DIR: settings.workFolder,
    GROVE_INTERNAL_SECRET: settings.internalSecret,
    GROVE_GATEWAY_URL: settings.gatewayUrl,
    GROVE_GATEWAY_PORT: `${port}`, // a stack around the tests has its own
    GROVE_SERVING_URL: settings.servingUrl,
    GROVE_BASE_MODEL: settings.baseModel.id,
    GROVE_BASE_MODEL_PATH: settings.baseModel.path,
    GROVE_PYTHON: settings.python,
    GROVE_QUEUE_PREFIX: settings.queuePrefix,
  };
  await Promise.all([start("gateway", stack), start("worker", stack)]);
  jobId = await trained();
}, 120_000);
afterAll(async () => {
  for (const one of processes) one.kill("SIGKILL");
  await world.close();
});

async function start(app: "gateway" | "worker", stack: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(process.execPath, ["--import", "tsx", "src/main.ts"], {
    cwd: join(ROOT, "apps", app),
    stdio: ["ignore", "pipe", "inherit"],
    env: stack,
  });
  processes.push(child);
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  while (!said.includes(`${app} ready`)) await sleep(50);
}

async function trained(): Promise<string> {
  const uploaded = await uploadDataset(
    world.ctx,
    { name: "Sums", fileName: "sums.jsonl", splitSeed: 42 },
    bytesOf(sums()),
  );
  if (!uploaded.ok) throw new Error(uploaded.message);
  const datasetId = uploaded.value.id;
  await ingestDataset(world.services, datasetId);
  for (let status = ""; status !== "ready"; await sleep(50)) {
    const dataset = await getDataset(world.ctx, datasetId);
    status = dataset.ok ? dataset.value.status : status;
  }
  const hyperparameters = { epochs: 2, rank: 4, dropout: 0.1, earlyStoppingPatience: 5, evaluateEverySteps: 2 };
  const config = { baseModel: "tiny", promptTemplate: "{sum} =", targetColumn: "answer", hyperparameters };
  const created = await createJob(world.ctx, createJobInput.parse({ datasetId, repository: "sums", config }));
  if (!created.ok) throw new Error(created.message);
  for (;;) {
    const job = await getJob(world.ctx, created.value.id);
    if (job.ok && job.value.status === "succeeded") return created.value.id;
    if (job.ok && job.value.status === "failed") throw new Error(JSON.stringify(job.value.error));
    await sleep(100);
  }
}

type Ran = { status: number | null; out: string; told: string };

async function grove(args: string[], more: Record<string, string> = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(GROVE, args, { env: { ...env, ...more } }, (_error, out, told) =>
      resolve({ status: child.exitCode, out: out.trim(), told: told.trim() }),
    );
  });
}

test("jobs are listed and shown, for people and for programs", async () => {
  const list = await grove(["jobs", "list"]);
  expect(list).toMatchObject({ status: 0, told: "" });
  expect(list.out).toMatch(new RegExp(`^JOB +STATUS +ADAPTER +CREATED\n${jobId} +succeeded +sums/1 +\\d{4}-`));
  const [first] = JSON.parse((await grove(["jobs", "list", "--json", "--limit", "1"])).out);
  expect(first).toMatchObject({ id: jobId, status: "succeeded" });
  expect((await grove(["jobs", "show", jobId])).out).toMatch(
    /^job +\S+\nname +sums\nstatus +succeeded\ndata set +Sums\nadapter +sums\/1$/m,
  );
  const absent = await grove(["jobs", "show", "00000000-0000-7000-8000-000000000000"]);
  expect(absent).toEqual({
    status: 1,
    out: "",
    told: "grove: There is no such job in this organisation. (job_not_found)",
  });
});

test("what is asked wrongly ends with 2 and says how it is asked", async () => {
  expect(await grove(["jobs", "shwo"])).toMatchObject({
    status: 2,
    told: expect.stringContaining("Commands: jobs list, jobs show"),
  });
  expect(await grove(["jobs", "show"])).toMatchObject({
    status: 2,
    told: expect.stringContaining("Usage: grove jobs show JOB"),
  });
  expect(await grove(["jobs", "list", "--jsn"])).toMatchObject({ status: 2, told: expect.stringContaining("--jsn") });
  expect(await grove(["adapters", "download", "sums", "--out", "x"])).toMatchObject({
    status: 2,
    told: expect.stringContaining("repository/version"),
  });
  expect(await grove(["jobs", "list"], { GROVE_TOKEN: "" })).toMatchObject({
    status: 2,
    told: expect.stringContaining("GROVE_TOKEN is not set"),
  });
  expect(await grove(["help"])).toMatchObject({ status: 0, out: expect.stringContaining("grove replay JOB") });
});

test("a gateway that is away, and a token that is none, are told apart", async () => {
  const away = await grove(["jobs", "list"], { GROVE_URL: "http://127.0.0.1:9" });
  expect(away).toMatchObject({ status: 1, told: expect.stringContaining("does not answer") });
  expect(await grove(["jobs", "list"], { GROVE_TOKEN: "pb_none" })).toMatchObject({
    status: 1,
    told: expect.stringContaining("(token_invalid)"),
  });
});

test("an adapter is downloaded in each form, into a folder under its own name or to a file", async () => {
  const folder = join(world.folder, "downloads");
  await mkdir(folder);
  for (const [format, name, magic] of [
    ["peft", "sums-1.zip", "PK"],
    ["gguf", "sums-1.gguf", "GGUF"],
    ["merged", "sums-1-merged.zip", "PK"],
  ] as const) {
    const ran = await grove(["adapters", "download", "sums/1", "--format", format, "--out", folder, "--json"]);
    expect(ran.status, ran.told).toBe(0);
    const { size } = await stat(join(folder, name));
    expect(JSON.parse(ran.out)).toEqual({ adapterId: "sums/1", format, file: join(folder, name), bytes: size });
    expect((await readFile(join(folder, name))).subarray(0, magic.length).toString()).toBe(magic);
  }
  const file = join(folder, "mine.zip");
  expect((await grove(["adapters", "download", "sums/1", "--out", file])).out).toContain(file);
  expect(await grove(["adapters", "download", "sums/9", "--out", file])).toMatchObject({
    status: 1,
    told: expect.stringContaining("(adapter_not_found)"),
  });
}, 120_000);

test("a folder from disk becomes a version with the same hash", async () => {
  const folder = join(world.folder, "peft");
  const zip = join(world.folder, "peft.zip");
  await grove(["adapters", "download", "sums/1", "--out", zip]);
  const script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])";
  await new Promise((resolve) => execFile(world.services.settings.python, ["-c", script, zip, folder], resolve));
  const ran = await grove(["adapters", "upload", join(folder, "sums-1"), "again"]);
  expect(ran, ran.told).toMatchObject({ status: 0, out: "again/1 is ready to be asked." });
  const listed: { adapterId: string; sha256: string }[] = JSON.parse((await grove(["adapters", "list", "--json"])).out);
  const hashes = new Map(listed.map((one) => [one.adapterId, one.sha256]));
  expect(hashes.get("again/1")).toBe(hashes.get("sums/1"));
  const empty = join(world.folder, "empty");
  await mkdir(empty);
  expect(await grove(["adapters", "upload", empty, "again"])).toMatchObject({
    status: 2,
    told: expect.stringContaining("adapter_config.json"),
  });
  await writeFile(join(empty, "adapter_config.json"), "{}");
  await writeFile(join(empty, "adapter_model.safetensors"), randomBytes(64));
  const refused = await grove(["adapters", "upload", empty, "again"]);
  expect(refused).toMatchObject({ status: 1, told: expect.stringContaining("only LORA") });
}, 90_000);

test("a finished run is replayed to the same adapter; other rows are told in words before anything trains", async () => {
  const ran = await grove(["replay", jobId, "--json"]);
  expect(ran.status, ran.told).toBe(0);
  const version = await world.services.db.adapterVersion.findUniqueOrThrow({ where: { jobId } });
  expect(JSON.parse(ran.out)).toMatchObject({
    adapterId: "sums/1",
    expected: version.sha256,
    sha256: version.sha256,
    same: true,
  });
  expect(ran.told).toMatch(/step \d+ of \d+/);

  const manifest = `adapters/${version.sha256}/grove.json`;
  const kept = await readFile(join(world.services.settings.storageFolder, manifest), "utf8");
  const manifestWith = async (change: Record<string, unknown>): Promise<Ran> => {
    const text = JSON.stringify({ ...JSON.parse(kept), ...change });
    await world.services.storage.put(manifest, bytesOf(text));
    return grove(["replay", jobId]);
  };
  const otherData = await manifestWith({ data_sha256: createHash("sha256").update("x").digest("hex") });
  expect(otherData).toMatchObject({ status: 1, told: expect.stringContaining("are not those that it trained on") });
  expect(otherData.told).not.toContain("step ");
  expect(await manifestWith({ base_sha256: "0".repeat(64) })).toMatchObject({
    status: 1,
    told: expect.stringContaining("The base model is not the run's"),
  });
  const { training } = JSON.parse(kept);
  const other = await manifestWith({ training: { ...training, seed: training.seed + 1 } });
  expect(other.status, other.told).toBe(1);
  expect(other.out).toContain("Another adapter.");
  await world.services.storage.put(manifest, bytesOf(kept));
}, 120_000);

test("a job that has not finished cannot be replayed, nor one of somebody else", async () => {
  const made = await world.services.db.job.findUniqueOrThrow({ where: { id: jobId } });
  const { datasetId, repositoryId, config } = made;
  const row = { datasetId, repositoryId, name: "x", config: config ?? {} };
  const queued = await world.services.db.job.create({ data: { ...row, orgId: world.ctx.orgId, status: "failed" } });
  expect(await grove(["replay", queued.id])).toMatchObject({
    status: 1,
    told: expect.stringContaining("this job is failed"),
  });
  const theirs = await world.services.db.job.create({
    data: { ...row, orgId: world.otherCtx.orgId, status: "succeeded" },
  });
  expect(await grove(["replay", theirs.id])).toMatchObject({
    status: 1,
    told: expect.stringContaining("(job_not_found)"),
  });
});
