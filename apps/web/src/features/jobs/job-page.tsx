"use client";
import type { JobConfig, JobView } from "@grove/contracts/jobs";
import { StatusBadge } from "@grove/ui/badge";
import { buttonStyles } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { LoadingPage, Notice } from "@grove/ui/states";
import { Tabs } from "@grove/ui/tabs";
import { useQuery } from "@tanstack/react-query";
import { Sparkles } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { EvaluateLink } from "@/features/evals/evaluate-link";
import { TryLink } from "@/features/lora-land/try-link";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { CancelJob } from "./cancel-job";
import { JobCheckpoints } from "./job-checkpoints";
import { JobConfigView } from "./job-config-view";
import { JobFigures } from "./job-figures";
import { JobLog } from "./job-log";
import { ChartLegend, LearningRateChart, LossChart } from "./loss-chart";
import { nextStep } from "./next-step";
import { NotServedNotice } from "./not-served-notice";
import { PauseJob } from "./pause-job";
import { isRunning } from "./running";
import { readStory, type TrainingStory } from "./training-curve";
import { useJobEvents } from "./use-job-events";

export function JobPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const job = useQuery(
    trpc.jobs.get.queryOptions(
      { id },
      { refetchInterval: (query) => (query.state.data !== undefined && isRunning(query.state.data) ? 1_000 : false) },
    ),
  );
  return (
    <QueryView query={job} what="this job" loading={<LoadingPage />}>
      {(data) => <JobDetail job={data} />}
    </QueryView>
  );
}

function JobDetail({ job }: { job: JobView }) {
  const running = isRunning(job);
  const events = useJobEvents(job.id, running);
  const story = readStory(events.data ?? []);
  return (
    <Page>
      <PageHeader
        above={
          <>
            <Link href="/jobs" className="text-link">
              Jobs
            </Link>
            {job.sweepId === null ? null : (
              <>
                {" / "}
                <Link href={`/sweeps/${job.sweepId}`} className="text-link">
                  Sweep
                </Link>
              </>
            )}
          </>
        }
        title={
          <>
            {job.name} <StatusBadge status={job.status} />
          </>
        }
        description={
          <>
            <Link href={`/datasets/${job.dataset.id}`} className="text-link">
              {job.dataset.name}
            </Link>{" "}
            →{" "}
            <Link href={`/adapters/${job.repository}`} className="text-link">
              {job.adapterId ?? job.repository}
            </Link>{" "}
            on {job.config.baseModel}
          </>
        }
      >
        {running ? <PauseJob job={job} /> : null}
        {running ? <CancelJob job={job} /> : null}
        {job.adapterId === null ? null : <AdapterActions adapterId={job.adapterId} config={job.config} />}
      </PageHeader>
      <Outcome job={job} />
      <NotServedNotice config={job.config} />
      <JobFigures job={job} story={story} />
      <Curves story={story} running={running} />
      <Details job={job} running={running} />
    </Page>
  );
}

function AdapterActions({ adapterId, config }: { adapterId: string; config: JobConfig }) {
  return (
    <>
      <EvaluateLink adapterId={adapterId} config={config} className={buttonStyles()}>
        Evaluate
      </EvaluateLink>
      <TryLink adapterId={adapterId} config={config} className={buttonStyles({ variant: "primary" })}>
        <Sparkles /> Try it
      </TryLink>
    </>
  );
}

function Outcome({ job }: { job: JobView }) {
  if (job.error !== null) {
    return (
      <Notice tone="bad" title={job.error.message}>
        {nextStep(job.error.code)}{" "}
        <Link href={`/jobs/new?dataset=${job.dataset.id}`} className="text-link">
          New job on the same data
        </Link>
      </Notice>
    );
  }
  if (job.status === "cancelled")
    return (
      <Notice tone="warn" title="This job was cancelled">
        No adapter was made, and nothing was billed.
      </Notice>
    );
  if (job.paused && job.status === "training")
    return (
      <Notice tone="info" title="This job is paused">
        It has written a checkpoint and keeps its place; paused time is not counted. Resume it when you like.
      </Notice>
    );
  if (job.status === "queued")
    return (
      <Notice tone="info" title="Waiting for a free worker">
        It starts by itself. If it stays here, check that the worker process is running.
      </Notice>
    );
  return null;
}

function Curves({ story, running }: { story: TrainingStory; running: boolean }) {
  if (story.points.length === 0 && !running) return null;
  return (
    <div className="grid items-start gap-6">
      <Card>
        <CardHeader
          title="Loss"
          hint={
            story.started === null
              ? "Begins with the first step"
              : `${story.started.train_rows.toLocaleString("en-US")} rows, up to ${story.started.max_length} tokens each, on ${story.started.device}`
          }
        >
          <ChartLegend hasValidation={story.points.some((point) => point.validation !== null)} />
        </CardHeader>
        <div className="px-3 py-4">
          {story.points.length === 0 ? (
            <div role="status" className="flex h-72 animate-pulse items-center justify-center text-sm text-muted">
              Waiting for the first step…
            </div>
          ) : (
            <LossChart points={story.points} />
          )}
        </div>
        {story.points.length > 1 ? (
          <div className="border-t border-line px-3 py-3">
            <p className="px-2 pb-1 text-[13px] text-muted">Learning rate</p>
            <LearningRateChart points={story.points} />
          </div>
        ) : null}
      </Card>
      {story.warnings.map((warning) => (
        <Notice key={warning} tone="warn" title={warning} />
      ))}
    </div>
  );
}

function Details({ job, running }: { job: JobView; running: boolean }) {
  const [tab, setTab] = useState(job.status === "failed" ? "log" : "config");
  return (
    <Tabs
      label="Details"
      value={tab}
      onChange={setTab}
      tabs={[
        {
          value: "config",
          title: "Configuration",
          content: (
            <Card>
              <JobConfigView config={job.config} />
            </Card>
          ),
        },
        {
          value: "checkpoints",
          title: "Checkpoints",
          content: <JobCheckpoints jobId={job.id} running={running} />,
        },
        {
          value: "log",
          title: "Log",
          content: (
            <Card>
              <CardBody>
                <JobLog jobId={job.id} running={running} />
              </CardBody>
            </Card>
          ),
        },
      ]}
    />
  );
}
