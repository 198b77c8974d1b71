"use client";
import type { JobView } from "@grove/contracts/jobs";
import { buttonStyles } from "@grove/ui/button";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Activity, Plus } from "lucide-react";
import Link from "next/link";
import { money } from "@/features/shared/format";
import { PagedList, whileAny } from "@/features/shared/paged-list";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { JobState } from "./job-state";
import { isRunning } from "./running";

export function JobsPage() {
  const trpc = useTRPC();
  const list = useInfiniteQuery(
    trpc.jobs.list.infiniteQueryOptions(
      { limit: 25 },
      {
        getNextPageParam: (page) => page.nextCursor,
        refetchInterval: whileAny(isRunning, 2_000),
      },
    ),
  );
  const start = (
    <Link href="/jobs/new" className={buttonStyles({ variant: "primary" })}>
      <Plus /> New job
    </Link>
  );
  return (
    <Page>
      <PageHeader title="Jobs" description="Each fine-tuning run makes one version of an adapter.">
        {start}
      </PageHeader>
      <PagedList
        list={list}
        what="your jobs"
        empty={
          <EmptyState icon={<Activity />} title="No jobs yet" action={start}>
            Choose a data set, write a prompt template and start. You see the price before it begins, and the loss while
            it runs.
          </EmptyState>
        }
      >
        {(jobs) => <JobTable jobs={jobs} />}
      </PagedList>
    </Page>
  );
}

function JobTable({ jobs }: { jobs: JobView[] }) {
  return (
    <Table
      label="Jobs"
      head={
        <>
          <Th>Name</Th>
          <Th>Status</Th>
          <Th>Data set</Th>
          <Th>Adapter</Th>
          <Th align="right">Loss</Th>
          <Th align="right">Cost</Th>
          <Th align="right">Started</Th>
        </>
      }
    >
      {jobs.map((job) => (
        <Tr key={job.id}>
          <Td>
            <Link href={`/jobs/${job.id}`} className="row-link">
              {job.name}
            </Link>
          </Td>
          <Td>
            <JobState job={job} />
          </Td>
          <Td tone="muted">{job.dataset.name}</Td>
          <Td tone="muted">{job.adapterId ?? "–"}</Td>
          <Td align="right">
            {job.result === null ? "–" : (job.result.validationLoss ?? job.result.trainLoss).toFixed(3)}
          </Td>
          <Td align="right">{job.result === null ? "–" : money(job.result.costMicroUsd)}</Td>
          <Td align="right" tone="muted">
            <TimeAgo date={job.createdAt} />
          </Td>
        </Tr>
      ))}
    </Table>
  );
}
