import { createJobInput, jobEventsInput, parseLudwigInput } from "@grove/contracts/jobs";
import { byId } from "@grove/contracts/pages";
import { listCheckpoints } from "@grove/core/adapters/checkpoints";
import { cancelJob } from "@grove/core/jobs/cancel-job";
import { createJob } from "@grove/core/jobs/create-job";
import { parseLudwig } from "@grove/core/jobs/ludwig";
import { pauseJob, resumeJob } from "@grove/core/jobs/pause-job";
import { quoteJob } from "@grove/core/jobs/quote-job";
import { getJob, listJobEvents, listJobs, readJobLog } from "@grove/core/jobs/read";
import { listInput, orgProcedure, orThrow, router } from "../trpc.ts";

export const jobsRouter = router({
  list: orgProcedure.input(listInput).query(({ ctx, input }) => listJobs(ctx.org, input)),
  get: orgProcedure.input(byId).query(async ({ ctx, input }) => orThrow(await getJob(ctx.org, input.id))),
  events: orgProcedure.input(jobEventsInput).query(({ ctx, input }) => listJobEvents(ctx.org, input)),
  checkpoints: orgProcedure
    .input(byId)
    .query(async ({ ctx, input }) => orThrow(await listCheckpoints(ctx.org, input.id))),
  log: orgProcedure.input(byId).query(async ({ ctx, input }) => orThrow(await readJobLog(ctx.org, input.id))),
  quote: orgProcedure.input(createJobInput).query(async ({ ctx, input }) => orThrow(await quoteJob(ctx.org, input))),
  parseLudwig: orgProcedure.input(parseLudwigInput).query(({ ctx, input }) => parseLudwig(ctx.org, input)),
  create: orgProcedure
    .input(createJobInput)
    .mutation(async ({ ctx, input }) => orThrow(await createJob(ctx.org, input))),
  pause: orgProcedure.input(byId).mutation(async ({ ctx, input }) => orThrow(await pauseJob(ctx.org, input.id))),
  resume: orgProcedure.input(byId).mutation(async ({ ctx, input }) => orThrow(await resumeJob(ctx.org, input.id))),
  cancel: orgProcedure.input(byId).mutation(async ({ ctx, input }) => orThrow(await cancelJob(ctx.org, input.id))),
});
