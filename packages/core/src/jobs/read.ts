import { fail, ok, type Result } from "@grove/contracts/errors";
import type { JobEventsInput, JobEventView, JobView } from "@grove/contracts/jobs";
import type { Page, PageInput } from "@grove/contracts/pages";
import { readText } from "@grove/storage";
import type { OrgCtx } from "../context.ts";
import { toPage } from "../pages.ts";
import { type JobRow, jobParts, toJobViews } from "./view.ts";

export async function listJobs(ctx: OrgCtx, input: PageInput): Promise<Page<JobView>> {
  const rows = await ctx.db.job.findMany({
    where: { orgId: ctx.orgId, ...(input.cursor ? { id: { lt: input.cursor } } : {}) },
    include: jobParts,
    orderBy: { id: "desc" },
    take: input.limit + 1,
  });
  const page = toPage(rows, input.limit, (row) => row);
  return { ...page, items: await toJobViews(ctx, page.items) };
}

export async function getJob(ctx: OrgCtx, id: string): Promise<Result<JobView, "job_not_found">> {
  const row = await findJob(ctx, id);
  if (!row.ok) return row;
  const [view] = await toJobViews(ctx, [row.value]);
  return view ? ok(view) : notFound();
}

export async function findJob(ctx: OrgCtx, id: string): Promise<Result<JobRow, "job_not_found">> {
  const row = await ctx.db.job.findFirst({ where: { id, orgId: ctx.orgId }, include: jobParts });
  return row ? ok(row) : notFound();
}

/** Of another organisation's job: nothing, as of one that does not exist. */
export async function listJobEvents(ctx: OrgCtx, input: JobEventsInput): Promise<JobEventView[]> {
  return ctx.db.jobEvent.findMany({
    where: { jobId: input.jobId, job: { orgId: ctx.orgId }, seq: { gt: input.afterSeq } },
    orderBy: { seq: "asc" },
    take: input.limit,
    select: { seq: true, attempt: true, createdAt: true, event: true },
  });
}

/** What the trainer wrote to its log, attempt after attempt; the running one up to some seconds ago. */
export async function readJobLog(ctx: OrgCtx, jobId: string): Promise<Result<string, "job_not_found">> {
  const job = await findJob(ctx, jobId);
  if (!job.ok) return job;
  const parts: string[] = [];
  for (let attempt = 1; attempt <= job.value.attempt; attempt++) {
    const text = await readText(ctx.storage, logKey(jobId, attempt));
    if (text !== null) parts.push(job.value.attempt === 1 ? text : `--- attempt ${attempt} ---\n${text}`);
  }
  return ok(parts.join("\n"));
}

export function logKey(jobId: string, attempt: number): string {
  return `jobs/${jobId}/attempt-${attempt}.log`;
}

function notFound(): Result<never, "job_not_found"> {
  return fail("job_not_found", "There is no such job in this organisation.");
}
