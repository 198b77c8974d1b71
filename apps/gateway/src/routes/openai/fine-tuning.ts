import { setTimeout as sleep } from "node:timers/promises";
import type { DatasetView } from "@grove/contracts/datasets";
import { type ErrorCode, fail, type Result } from "@grove/contracts/errors";
import type { JobView } from "@grove/contracts/jobs";
import { adapterId } from "@grove/contracts/names";
import { listCheckpoints } from "@grove/core/adapters/checkpoints";
import { getDataset } from "@grove/core/datasets/read";
import { jobActs } from "@grove/core/jobs/acts";
import { createJob } from "@grove/core/jobs/create-job";
import { fromOpenAi, type OpenAiJobInput, openAiJobInput } from "@grove/core/jobs/doors/openai";
import { readStart } from "@grove/core/jobs/doors/start";
import { getJob, listJobEvents, listJobs } from "@grove/core/jobs/read";
import { Hono } from "hono";
import type { GatewayContext, GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, parseInput, readJson } from "../../json.ts";
import { smallBody } from "../grove/small-body.ts";
import { toFineTuningCheckpoint, toFineTuningEvent, toFineTuningJob } from "./fine-tuning-view.ts";
import { listOf, listQuery, uuidOf } from "./pages.ts";

const noJob = fail("job_not_found", "There is no such fine-tuning job in this organisation.", {
  field: "fine_tuning_job_id",
});
const READ_MS = 20_000; // for a file that was uploaded a moment ago
const MOST_EVENTS = 2_000;

/** `client.fine_tuning.jobs` of the official clients: our jobs in OpenAI's words. */
export function fineTuningRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.use(smallBody);
  app.post("/", async (c) => {
    const input = await readJson(c, openAiJobInput);
    return answerJob(c, input.ok ? await create(c, input.value) : input);
  });
  app.get("/", async (c) => {
    const query = parseInput(listQuery, c.req.query());
    if (!query.ok) return failureResponse("openai", query);
    const { after, limit } = query.value;
    const cursor = after === undefined ? undefined : (uuidOf("ftjob", after) ?? undefined);
    const page = await listJobs(c.var.ctx, { cursor, limit });
    const jobs = page.items.map((job) => toFineTuningJob(job, c.var.ctx.orgSlug));
    return jsonResponse(listOf(jobs, page.nextCursor !== null));
  });
  app.get("/:id", async (c) => answerJob(c, await findJob(c)));
  for (const [act, run] of Object.entries(jobActs)) {
    app.post(`/:id/${act}`, async (c) => {
      const job = await findJob(c);
      return answerJob(c, job.ok ? await run(c.var.ctx, job.value.id) : job);
    });
  }
  app.get("/:id/events", async (c) => {
    const job = await findJob(c);
    if (!job.ok) return failureResponse("openai", job);
    const events = await listJobEvents(c.var.ctx, { jobId: job.value.id, afterSeq: 0, limit: MOST_EVENTS });
    const told = events.map((event) => toFineTuningEvent(job.value.id, event)).filter((event) => event !== null);
    return answerList(c, told.reverse());
  });
  app.get("/:id/checkpoints", async (c) => {
    const job = await findJob(c);
    if (!job.ok) return failureResponse("openai", job);
    const checkpoints = await listCheckpoints(c.var.ctx, job.value.id);
    if (!checkpoints.ok) return failureResponse("openai", checkpoints);
    const events = await listJobEvents(c.var.ctx, { jobId: job.value.id, afterSeq: 0, limit: MOST_EVENTS });
    return answerList(
      c,
      checkpoints.value.map((checkpoint) => toFineTuningCheckpoint(checkpoint, events)),
    );
  });
  return app;
}

async function create(c: GatewayContext, input: OpenAiJobInput): Promise<Result<JobView, ErrorCode>> {
  const dataset = await readFile(c, input.training_file);
  if (!dataset.ok) return dataset;
  const { id, name, profile } = dataset.value;
  if (profile === null) return fail("dataset_not_ready", unread(dataset.value), { field: "training_file" });
  const { ctx } = c.var;
  const start = await readStart(ctx, adapterId.safeParse(input.model).success ? input.model : null, "model");
  if (!start.ok) return start;
  const job = fromOpenAi(input, { id, name, profile }, { settings: ctx.settings, start: start.value });
  if (!job.ok) return job;
  const idempotencyKey = c.req.header("idempotency-key");
  return createJob(ctx, idempotencyKey === undefined ? job.value : { ...job.value, idempotencyKey });
}

/** OpenAI's clients make the job right after the upload: the file is given time to be read. */
async function readFile(c: GatewayContext, fileId: string): Promise<Result<DatasetView, ErrorCode>> {
  const id = uuidOf("file", fileId);
  for (const end = Date.now() + READ_MS; id !== null; ) {
    const dataset = await getDataset(c.var.ctx, id);
    if (!dataset.ok) break;
    if (dataset.value.status !== "profiling" || Date.now() > end) return dataset;
    await sleep(200);
  }
  return fail("dataset_not_found", "There is no such file in this organisation.", { field: "training_file" });
}

function unread(dataset: DatasetView): string {
  if (dataset.error !== null) return `The file could not be read: ${dataset.error.message}`;
  return "The file is still being read. Try again in a moment.";
}

async function findJob(c: GatewayContext): Promise<Result<JobView, ErrorCode>> {
  const id = uuidOf("ftjob", c.req.param("id") ?? "");
  const job = id === null ? noJob : await getJob(c.var.ctx, id);
  return job.ok ? job : noJob;
}

function answerJob(c: GatewayContext, job: Result<JobView, ErrorCode>): Response {
  return job.ok ? jsonResponse(toFineTuningJob(job.value, c.var.ctx.orgSlug)) : failureResponse("openai", job);
}

/** A page of what is already all here. */
function answerList(c: GatewayContext, all: { id: string }[]): Response {
  const query = parseInput(listQuery, c.req.query());
  if (!query.ok) return failureResponse("openai", query);
  const { after, limit } = query.value;
  const from = after === undefined ? 0 : all.findIndex((one) => one.id === after) + 1;
  return jsonResponse(listOf(all.slice(from, from + limit), all.length > from + limit));
}
