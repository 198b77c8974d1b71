import { datasetProfile } from "@grove/contracts/datasets";
import { createJobInput, jobEventsInput, parseLudwigInput } from "@grove/contracts/jobs";
import { byId, pageInput } from "@grove/contracts/pages";
import { listCheckpoints } from "@grove/core/adapters/checkpoints";
import type { Services } from "@grove/core/context";
import { findReadyDataset } from "@grove/core/datasets/preview";
import { jobActs } from "@grove/core/jobs/acts";
import { createJob } from "@grove/core/jobs/create-job";
import { fromPredibase, predibaseConfig } from "@grove/core/jobs/doors/predibase";
import { readStart } from "@grove/core/jobs/doors/start";
import { parseLudwig } from "@grove/core/jobs/ludwig";
import { quoteJob } from "@grove/core/jobs/quote-job";
import { getJob, listJobEvents, listJobs, readJobLog } from "@grove/core/jobs/read";
import { Hono } from "hono";
import { z } from "zod";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, numbersIn, parseInput, readJson, resultResponse } from "../../json.ts";
import { readKeyed } from "./keyed.ts";
import { smallBody } from "./small-body.ts";

/** Predibase's SDK sends the adapter to go on from beside its configuration. */
const predibaseInput = z.strictObject({
  datasetId: z.uuid(),
  config: predibaseConfig,
  continueFromVersion: z.string().min(1).nullable().optional(),
});

export function jobRoutes(_services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.use(smallBody);
  app.post("/", async (c) => {
    const input = await readKeyed(c, createJobInput);
    return input.ok ? resultResponse(await createJob(c.var.ctx, input.value), 201) : failureResponse("grove", input);
  });
  app.get("/", async (c) => {
    const input = parseInput(pageInput, numbersIn(c.req.query(), ["limit"]));
    return input.ok ? jsonResponse(await listJobs(c.var.ctx, input.value)) : failureResponse("grove", input);
  });
  app.post("/quote", async (c) => {
    const input = await readJson(c, createJobInput);
    return resultResponse(input.ok ? await quoteJob(c.var.ctx, input.value) : input);
  });
  app.post("/parse-ludwig", async (c) => {
    const input = await readJson(c, parseLudwigInput);
    if (!input.ok) return failureResponse("grove", input);
    const parsed = await parseLudwig(c.var.ctx, input.value);
    if (parsed.ok) return jsonResponse(parsed);
    const first = parsed.problems[0];
    const error = {
      code: "config_invalid",
      message: first?.message ?? "The configuration is not valid.",
      field: first?.key,
      line: first?.line,
    };
    return jsonResponse({ error, problems: parsed.problems }, 422);
  });
  app.post("/parse-predibase", async (c) => {
    const input = await readJson(c, predibaseInput);
    if (!input.ok) return failureResponse("grove", input);
    const { ctx } = c.var;
    const { datasetId, config: asked, continueFromVersion } = input.value;
    const dataset = await findReadyDataset(ctx, datasetId);
    if (!dataset.ok) return failureResponse("grove", dataset);
    const start = await readStart(ctx, continueFromVersion ?? null, "continueFromVersion");
    if (!start.ok) return failureResponse("grove", start);
    const profile = datasetProfile.parse(dataset.value.profile);
    const config = fromPredibase(asked, profile, { settings: ctx.settings, start: start.value });
    return config.ok ? jsonResponse({ config: config.value }) : failureResponse("grove", config);
  });
  app.get("/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return resultResponse(input.ok ? await getJob(c.var.ctx, input.value.id) : input);
  });
  app.get("/:id/events", async (c) => {
    const input = parseInput(jobEventsInput, {
      ...numbersIn(c.req.query(), ["afterSeq", "limit"]),
      jobId: c.req.param("id"),
    });
    if (!input.ok) return failureResponse("grove", input);
    const job = await getJob(c.var.ctx, input.value.jobId);
    return job.ok
      ? jsonResponse({ items: await listJobEvents(c.var.ctx, input.value) })
      : failureResponse("grove", job);
  });
  app.get("/:id/checkpoints", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    const checkpoints = input.ok ? await listCheckpoints(c.var.ctx, input.value.id) : input;
    return checkpoints.ok ? jsonResponse({ items: checkpoints.value }) : failureResponse("grove", checkpoints);
  });
  app.get("/:id/log", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    const log = input.ok ? await readJobLog(c.var.ctx, input.value.id) : input;
    return log.ok ? c.text(log.value) : failureResponse("grove", log);
  });
  for (const [act, run] of Object.entries(jobActs)) {
    app.post(`/:id/${act}`, async (c) => {
      const input = parseInput(byId, { id: c.req.param("id") });
      return resultResponse(input.ok ? await run(c.var.ctx, input.value.id) : input);
    });
  }
  return app;
}
