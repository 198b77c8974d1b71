// What a broken trainer does to a job: the place of Python is taken by scripts that fail in one way each.

import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DatasetView } from "@grove/contracts/datasets";
import { createJobInput, type JobView } from "@grove/contracts/jobs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Services } from "../context.ts";
import { alone, createTestWorld, readyDataset, sums, type TestWorld } from "../testing.ts";
import { createJob } from "./create-job.ts";
import { getJob, readJobLog } from "./read.ts";
import { runJob } from "./run-job.ts";
import { moveJob } from "./status.ts";
import { sweep } from "./sweep.ts";
import { workFolder } from "./work-folder.ts";

let world: TestWorld;
let dataset: DatasetView;
beforeAll(async () => {
  world = await createTestWorld();
  dataset = await readyDataset(world, "sums.jsonl", sums());
});
afterAll(() => world.close());

const never = new AbortController().signal;

async function newJob(repository = "faults"): Promise<JobView> {
  const config = { baseModel: "tiny", promptTemplate: "{sum} =", targetColumn: "answer", hyperparameters: {} };
  const job = await createJob(world.ctx, createJobInput.parse({ datasetId: dataset.id, repository, config }));
  if (!job.ok) throw new Error(job.message);
  return job.value;
}

/** `say EVENT` writes a line as the trainer does for the job whose folder its spec file is in. */
const SAY = 'say() { echo "{\\"job_id\\":\\"$(basename "$(dirname "$SPEC")")\\",\\"event\\":$1}"; }; SPEC=$5';

function scripted(name: string, script: string): Services {
  const python = join(world.folder, name);
  writeFileSync(python, `#!/bin/sh\n${SAY}\n${script}\n`);
  chmodSync(python, 0o755);
  return { ...world.services, settings: { ...world.services.settings, python } };
}

/** Every attempt until the job is settled. */
async function runToEnd(services: Services, job: JobView): Promise<JobView> {
  for (let i = 0; i < 10; i++) {
    const view = await read(job.id);
    if (view.status !== "queued") return view;
    await runJob(services, alone(services), { jobId: job.id, attempt: view.attempt }, never);
  }
  throw new Error("the job goes round for ever");
}

async function read(id: string): Promise<JobView> {
  const view = await getJob(world.ctx, id);
  if (!view.ok) throw new Error(view.message);
  return view.value;
}

test.each([
  ["is killed each time", "kill -9 $$", "trainer_died", 3, "lower the batch size (now 16)"],
  ["ends without a word", "exit 0", "trainer_died", 3, "exit status 0"],
  [
    "writes a line that is no event",
    'echo \'{"event":"step"}\'; sleep 60',
    "trainer_failed",
    1,
    '{\\"event\\":\\"step\\"}',
  ],
  ["writes nonsense", "echo Segmentation fault", "trainer_failed", 1, "Segmentation fault"],
  [
    "runs out of memory",
    'say \'{"event":"failed","code":"trainer_out_of_memory","message":"Lower the batch size."}\'; exit 1',
    "trainer_out_of_memory",
    1,
    "Lower the batch size.",
  ],
  [
    "diverges",
    'say \'{"event":"failed","code":"trainer_diverged","message":"Lower the learning rate."}\'; exit 1',
    "trainer_diverged",
    1,
    "Lower the learning rate.",
  ],
  [
    "fills the disk",
    'say \'{"event":"failed","code":"trainer_disk_full","message":"Free some space."}\'; exit 1',
    "trainer_disk_full",
    1,
    "Free some space.",
  ],
  [
    "refuses the spec",
    'say \'{"event":"failed","code":"trainer_bad_spec","message":"rank is wrong."}\'; exit 1',
    "trainer_bad_spec",
    1,
    "rank is wrong.",
  ],
  [
    "refuses the data",
    'say \'{"event":"failed","code":"trainer_bad_data","message":"Nothing to train on."}\'; exit 1',
    "trainer_bad_data",
    1,
    "Nothing to train on.",
  ],
  [
    "breaks each time",
    'say \'{"event":"failed","code":"trainer_failed","message":"Unforeseen."}\'; exit 1',
    "trainer_failed",
    3,
    "Unforeseen.",
  ],
])(
  "a trainer that %s",
  async (name, script, code, attempts, words) => {
    const services = scripted(name.replaceAll(" ", "-"), `echo "log of $0" >&2\n${script}`);
    const job = await runToEnd(services, await newJob());
    expect(job).toMatchObject({ status: "failed", attempt: attempts, error: { code }, adapterId: null, result: null });
    expect(job.error?.message).toContain(words);
    expect(await readJobLog(world.ctx, job.id)).toMatchObject({ ok: true, value: expect.stringContaining("log of") });
  },
  20_000,
);

test("a python that is not there ends the job with its name", async () => {
  const services = { ...world.services, settings: { ...world.services.settings, python: "/no/python" } };
  const job = await runToEnd(services, await newJob());
  expect(job).toMatchObject({
    status: "failed",
    error: { code: "internal", message: expect.stringContaining("/no/python") },
  });
});

test("an adapter folder without the hash that was reported is not published", async () => {
  const event = finishedEvent("0".repeat(64));
  const job = await runToEnd(scripted("liar", `say '${event}'`), await newJob());
  expect(job).toMatchObject({ status: "failed", error: { code: "trainer_failed" }, adapterId: null });
});

test("a worker that is told to stop hands its job back, and no attempt is counted as failed", async () => {
  const job = await newJob();
  const stop = new AbortController();
  const cancelled = JSON.stringify({ event: "cancelled", step: 0, tokens: 0, seconds: 0 });
  const services = scripted(
    "patient",
    `trap 'say ${JSON.stringify(cancelled)}; exit 3' TERM\nwhile :; do sleep 0.05; done`,
  );
  const running = runJob(services, alone(services), { jobId: job.id, attempt: 1 }, stop.signal);
  while ((await read(job.id)).status !== "training") await sleep(20);
  await sleep(100);
  stop.abort();
  await running;
  expect(await read(job.id)).toMatchObject({ status: "queued", attempt: 2, error: null });
  expect(
    await world.services.db.jobEvent.count({ where: { jobId: job.id, event: { path: ["event"], equals: "warning" } } }),
  ).toBe(0);
});

function finishedEvent(sha256: string): string {
  return JSON.stringify({
    event: "finished",
    steps: 1,
    epochs: 1,
    tokens: 1000,
    seconds: 1,
    train_loss: 1,
    validation_loss: null,
    sha256,
    bytes: 6,
    stopped_by: "epochs",
  });
}

const files = {
  "adapter_config.json": "{}",
  "adapter_model.safetensors": "weights",
  "README.md": "# card",
  "grove.json": "{}",
};
const sha256 = createHash("sha256")
  .update(files["adapter_config.json"])
  .update(files["adapter_model.safetensors"])
  .digest("hex");

function writeAdapter(jobId: string): void {
  const { output } = workFolder(world.services.settings, jobId);
  mkdirSync(output, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(output, name), text);
}

test("jobs that finish at once in one repository get versions without a gap, and one bill each", async () => {
  const services = scripted("finisher", `say '${finishedEvent(sha256)}'`);
  const jobs = await Promise.all(Array.from({ length: 6 }, () => newJob("race")));
  for (const job of jobs) writeAdapter(job.id);
  await Promise.all(jobs.map((job) => runToEnd(services, job)));
  const done = await Promise.all(jobs.map((job) => read(job.id)));
  expect(done.map((job) => job.adapterId).sort()).toEqual(["race/1", "race/2", "race/3", "race/4", "race/5", "race/6"]);
  expect(await world.services.db.usageEvent.count({ where: { jobId: { in: jobs.map((job) => job.id) } } })).toBe(6);
});

async function lose(job: JobView, change: object = {}): Promise<void> {
  await moveJob(world.services.db, job.id, {
    from: ["queued"],
    to: "preparing",
    data: { heartbeatAt: new Date(Date.now() - 60_000), ...change },
  });
}

test("the job of a lost worker goes back to the queue; its late worker can change nothing any more", async () => {
  const job = await newJob();
  await lose(job);
  await sweep(world.services, 10_000);
  expect(await read(job.id)).toMatchObject({ status: "queued", attempt: 2 });
  expect(await moveJob(world.services.db, job.id, { from: ["preparing"], to: "training", attempt: 1 })).toBe(false);
  await runJob(world.services, alone(world.services), { jobId: job.id, attempt: 1 }, never); // the old message, delivered again
  expect(await read(job.id)).toMatchObject({ status: "queued", attempt: 2 });
});

test("a worker that beats keeps its job; one lost three times fails in plain words; a cancelled one is cancelled", async () => {
  const [kept, unlucky, cancelled] = [await newJob(), await newJob(), await newJob()];
  await lose(kept, { heartbeatAt: new Date() });
  await lose(cancelled, { cancelRequestedAt: new Date() });
  for (let i = 0; i < 3; i++) {
    await lose(unlucky);
    await sweep(world.services, 10_000);
  }
  expect((await read(kept.id)).status).toBe("preparing");
  expect((await read(cancelled.id)).status).toBe("cancelled");
  expect(await read(unlucky.id)).toMatchObject({
    status: "failed",
    error: { code: "trainer_died", message: expect.stringContaining("third attempt") },
  });
});

test("a job that was lost after training is published without training again", async () => {
  const job = await newJob("late");
  await lose(job);
  writeAdapter(job.id);
  await world.services.db.jobEvent.create({
    data: { jobId: job.id, seq: 1, attempt: 1, event: JSON.parse(finishedEvent(sha256)) },
  });
  await sweep(world.services, 10_000);
  const done = await runToEnd(scripted("must-not-run", "exit 1"), job);
  expect(done).toMatchObject({ status: "succeeded", adapterId: "late/1", attempt: 2, result: { trainTokens: 1000 } });
});
