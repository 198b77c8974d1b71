"use client";
import type { JobView } from "@grove/contracts/jobs";
import { type SweepKnob, type SweepView, sweepKnobs } from "@grove/contracts/sweeps";
import { Badge } from "@grove/ui/badge";
import { Card, CardHeader } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { LoadingPage } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { EvaluateLink } from "@/features/evals/evaluate-link";
import { JobState } from "@/features/jobs/job-state";
import { isRunning } from "@/features/jobs/running";
import { money, plural } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { knobLabels } from "./knob-labels";
import { bestRun, byLoss, lossOf } from "./ranking";

export function SweepPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const sweep = useQuery(
    trpc.sweeps.get.queryOptions(
      { id },
      { refetchInterval: ({ state }) => (state.data?.runs.some(({ job }) => isRunning(job)) ? 2_000 : false) },
    ),
  );
  return (
    <QueryView query={sweep} what="this sweep" loading={<LoadingPage />}>
      {(data) => <SweepDetail sweep={data} />}
    </QueryView>
  );
}

function SweepDetail({ sweep }: { sweep: SweepView }) {
  const varied = sweepKnobs.filter((knob) => sweep.grid[knob] !== undefined);
  const best = bestRun(sweep.runs);
  const left = sweep.runs.filter(({ job }) => isRunning(job)).length;
  return (
    <Page>
      <PageHeader
        above={
          <Link href="/jobs" className="text-link">
            Jobs
          </Link>
        }
        title={sweep.name}
        description={`${plural(sweep.runs.length, "run")} over ${varied.map((knob) => knobLabels[knob].toLowerCase()).join(" and ")}, trained side by side over one copy of the base.`}
      />
      <Card>
        <CardHeader
          title="Runs"
          hint={left === 0 ? "Lowest validation loss first." : `${left} still to finish; lowest validation loss first.`}
        />
        <Table label="Runs" head={<Head varied={varied} />}>
          {byLoss(sweep.runs).map(({ job, values }) => (
            <Tr key={job.id}>
              {varied.map((knob, i) => (
                <Td key={knob}>
                  {i === 0 ? (
                    <Link href={`/jobs/${job.id}`} className="row-link">
                      {values[knob]}
                    </Link>
                  ) : (
                    values[knob]
                  )}
                </Td>
              ))}
              <Td>
                <JobState job={job} />
              </Td>
              <Td align="right">
                <Loss job={job} isBest={job.id === best?.job.id} />
              </Td>
              <Td align="right">{job.result === null ? "–" : money(job.result.costMicroUsd)}</Td>
              <Td align="right">
                {job.adapterId === null ? (
                  "–"
                ) : (
                  <EvaluateLink adapterId={job.adapterId} config={job.config} className="text-link relative">
                    Evaluate {job.adapterId}
                  </EvaluateLink>
                )}
              </Td>
            </Tr>
          ))}
        </Table>
      </Card>
    </Page>
  );
}

function Head({ varied }: { varied: SweepKnob[] }) {
  return (
    <>
      {varied.map((knob) => (
        <Th key={knob}>{knobLabels[knob]}</Th>
      ))}
      <Th>Status</Th>
      <Th align="right">Validation loss</Th>
      <Th align="right">Cost</Th>
      <Th align="right">Adapter</Th>
    </>
  );
}

function Loss({ job, isBest }: { job: JobView; isBest: boolean }) {
  const loss = lossOf(job);
  if (loss === null) return "–";
  return (
    <span className="inline-flex items-center gap-2">
      {isBest ? <Badge tone="good">lowest</Badge> : null}
      {loss.toFixed(4)}
    </span>
  );
}
