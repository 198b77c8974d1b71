"use client";
import { Page, PageHeader } from "@grove/ui/page";
import { LoadingPage } from "@grove/ui/states";
import { useQuery } from "@tanstack/react-query";
import { isRunningEval } from "@/features/evals/eval-table";
import { isRunning } from "@/features/jobs/running";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { AdapterScores } from "./adapter-scores";
import { AtWork } from "./at-work";
import { Figures } from "./figures";
import { NextSteps } from "./next-steps";

/** Where the line stands, and what to do next. */
export function OverviewPage() {
  const trpc = useTRPC();
  const datasets = useQuery(trpc.datasets.list.queryOptions({ limit: 5 }));
  const jobs = useQuery(
    trpc.jobs.list.queryOptions(
      { limit: 5 },
      { refetchInterval: (query) => (query.state.data?.items.some(isRunning) === true ? 2_000 : 10_000) },
    ),
  );
  const adapters = useQuery(trpc.adapters.list.queryOptions());
  const evals = useQuery(
    trpc.evals.list.queryOptions(
      { limit: 5 },
      { refetchInterval: (query) => (query.state.data?.items.some(isRunningEval) === true ? 2_000 : 10_000) },
    ),
  );
  const tokens = useQuery(trpc.accounts.tokens.list.queryOptions());
  const usage = useQuery(trpc.usage.report.queryOptions({ days: 30 }));
  const parts = [datasets, jobs, adapters, evals, tokens, usage];
  const ready =
    datasets.data && jobs.data && adapters.data && evals.data && tokens.data && usage.data
      ? {
          datasets: datasets.data.items,
          jobs: jobs.data.items,
          adapters: adapters.data,
          evals: evals.data.items,
          tokens: tokens.data,
          usage: usage.data,
        }
      : undefined;
  const all = {
    data: ready,
    error: parts.find((part) => part.error !== null && part.data === undefined)?.error ?? null,
    refetch: () => parts.map((part) => part.refetch()),
  };
  return (
    <Page>
      <PageHeader
        title="Overview"
        description="Data in, adapter out, served beside its base, proved against it and billed by the token."
      />
      <QueryView query={all} what="the overview" loading={<LoadingPage />}>
        {(data) => (
          <>
            <NextSteps
              hasData={data.datasets.length > 0}
              hasJob={data.jobs.length > 0}
              newestAdapter={data.adapters[0]?.adapterId ?? null}
              hasPrompted={data.usage.rows.some((row) => row.source === "playground")}
              hasEval={data.evals.length > 0}
              hasToken={data.tokens.some((token) => token.revokedAt === null)}
            />
            <Figures adapters={data.adapters} usage={data.usage} />
            <AdapterScores adapters={data.adapters} />
            <AtWork jobs={data.jobs} evals={data.evals} />
          </>
        )}
      </QueryView>
    </Page>
  );
}
