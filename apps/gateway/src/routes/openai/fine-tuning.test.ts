// The official Python client fine-tunes through the gateway; the test is the worker.
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { ingestDataset } from "@grove/core/datasets/ingest";
import { runJob } from "@grove/core/jobs/run-job";
import { alone, createTestWorld, type TestWorld, writeTinyBase } from "@grove/core/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPlainGateway } from "../../testing.ts";

let world: TestWorld;
let gateway: Awaited<ReturnType<typeof startPlainGateway>>;
let token: string;
let url: string;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
  gateway = await startPlainGateway(world);
  ({ token, url } = gateway);
}, 90_000);
afterAll(async () => {
  await gateway.close();
  await world.close();
  expect(gateway.errors).toEqual([]);
});

async function python(script: string, ...args: string[]): Promise<Record<string, unknown>> {
  const start = `import json, sys, openai\nclient = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)\n`;
  const options = { timeout: 60_000 };
  const command = ["-c", start + script, url, token, ...args];
  const { stdout } = await promisify(execFile)(world.services.settings.python, command, options);
  return JSON.parse(stdout);
}

/** What a worker does with an upload. */
async function ingestOne(): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const row = await world.services.db.dataset.findFirst({ where: { status: "profiling" } });
    if (row !== null) {
      await ingestDataset(world.services, row.id);
      return;
    }
    await sleep(50);
  }
}

function conversations(): string {
  return Array.from({ length: 24 }, (_, i) => {
    const messages = [
      { role: "user", content: `${i % 7} + ${i % 5}?` },
      { role: "assistant", content: String((i % 7) + (i % 5)) },
    ];
    return `${JSON.stringify({ messages, split: i < 20 ? "train" : "validation" })}\n`;
  }).join("");
}

test("upload, job, events, checkpoints and the model's name, by the official client", async () => {
  const path = join(world.folder, "sums.jsonl");
  writeFileSync(path, conversations());
  const [made] = await Promise.all([
    python(
      `
file = client.files.create(file=open(sys.argv[3], "rb"), purpose="fine-tune")
settings = {"n_epochs": 4, "batch_size": 4, "learning_rate_multiplier": 20}
job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id, suffix="sums", seed=3, hyperparameters=settings, metadata={"team": "search"}, extra_body={"rank": 4})
read = client.files.retrieve(file.id)
names = [one.filename for one in client.files.list()]
print(json.dumps({"file": read.model_dump(), "names": names, "job": job.model_dump()}))`,
      path,
    ),
    ingestOne(),
  ]);
  expect(made).toMatchObject({
    file: { object: "file", filename: "sums.jsonl", purpose: "fine-tune", status: "processed" },
    names: ["sums.jsonl"],
    job: {
      object: "fine_tuning.job",
      status: "queued",
      model: "tiny",
      seed: 3,
      fine_tuned_model: null,
      hyperparameters: { n_epochs: 4, batch_size: 4, learning_rate_multiplier: 20 },
      metadata: { team: "search" },
    },
  });
  const row = await world.services.db.job.findFirstOrThrow();
  await runJob(world.services, alone(world.services), { jobId: row.id, attempt: 1 }, new AbortController().signal);
  const done = await python(
    `
job = client.fine_tuning.jobs.retrieve(sys.argv[3])
events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
print(json.dumps({
    "job": job.model_dump(), "last": events[0].message, "first": events[-1].message, "events": len({one.id for one in events}),
    "checkpoint": checkpoints[0].model_dump(), "listed": [one.id for one in client.fine_tuning.jobs.list()],
    "models": [one.id for one in client.models.list()],
}))`,
    `ftjob-${row.id}`,
  );
  expect(done).toMatchObject({
    job: { status: "succeeded", fine_tuned_model: "sums/1", error: null, trained_tokens: expect.any(Number) },
    last: "The job has successfully completed",
    first: expect.stringContaining("Training started on 20 rows"),
    checkpoint: { fine_tuned_model_checkpoint: expect.stringMatching(/^sums\/[0-9a-f]{8}-step-\d+$/) },
    listed: [`ftjob-${row.id}`],
    models: expect.arrayContaining(["sums/1"]),
  });
  const told = await world.services.db.jobEvent.count({ where: { jobId: row.id } });
  expect(told).toBeGreaterThan(10);
  expect(done.events).toBe(told); // page by page, none lost, none twice

  const next = await python(
    `
job = client.fine_tuning.jobs.create(model="sums/1", training_file=sys.argv[3])
print(json.dumps({"job": job.model_dump()}))`,
    `file-${row.datasetId}`,
  );
  expect(next).toMatchObject({ job: { status: "queued", model: "tiny" } });
  const goingOn = await world.services.db.job.findFirstOrThrow({ where: { status: "queued" } });
  expect(goingOn.config).toMatchObject({ hyperparameters: { continueFrom: "sums/1", rank: 4 } });
}, 120_000);

test.each([
  [
    "a file that is not there",
    `client.fine_tuning.jobs.create(model="tiny", training_file="file-none")`,
    "NotFoundError",
    "training_file",
  ],
  [
    "an adapter that is not there as the model",
    `client.fine_tuning.jobs.create(model="nothing/1", training_file="file-" + client.files.list().data[0].id[5:])`,
    "NotFoundError",
    "model",
  ],
  [
    "another purpose",
    `client.files.create(file=("a.jsonl", b"{}"), purpose="assistants")`,
    "UnprocessableEntityError",
    "purpose",
  ],
  ["a job that is not there", `client.fine_tuning.jobs.retrieve("ftjob-none")`, "NotFoundError", "fine_tuning_job_id"],
])(
  "%s is the exception that the client has for it, with the field",
  async (_name, call, exception, param) => {
    const said = await python(`
try:
    ${call}
except openai.APIStatusError as error:
    print(json.dumps({"exception": type(error).__name__, "param": error.param}))`);
    expect(said).toEqual({ exception, param });
  },
  60_000,
);
