"use client";
import type { UsageReport } from "@grove/contracts/usage";
import { buttonStyles } from "@grove/ui/button";
import { Card, CardHeader, Stat, StatGrid } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState, LoadingPage } from "@grove/ui/states";
import { Segmented } from "@grove/ui/tabs";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ChartColumn } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { count, money, tokens } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { UsageChart } from "./usage-chart";
import { UsageTable } from "./usage-table";

const ranges = [
  { value: "7", title: "7 days" },
  { value: "30", title: "30 days" },
  { value: "90", title: "90 days" },
] as const;

export function UsagePage() {
  const trpc = useTRPC();
  const [range, setRange] = useState<"7" | "30" | "90">("30");
  const report = useQuery(
    trpc.usage.report.queryOptions({ days: Number(range) }, { placeholderData: keepPreviousData }),
  );
  return (
    <Page>
      <PageHeader
        title="Usage"
        description="What was trained and asked, per day and adapter, and what it costs. Days are in UTC."
      >
        <Segmented label="Range" value={range} options={ranges} onChange={setRange} />
      </PageHeader>
      <QueryView query={report} what="the usage" loading={<LoadingPage />}>
        {(data) => <Report report={data} days={Number(range)} />}
      </QueryView>
    </Page>
  );
}

function Report({ report, days }: { report: UsageReport; days: number }) {
  const { rows, prices } = report;
  const sum = (pick: (row: UsageReport["rows"][number]) => number) => rows.reduce((total, row) => total + pick(row), 0);
  return (
    <>
      <StatGrid>
        <Stat label="Total" value={money(report.totalMicroUsd)} hint={`last ${days} days`} />
        <Stat
          label="Training tokens"
          value={tokens(sum((row) => row.trainTokens))}
          hint={`${money(prices.trainPerMillion)} a million`}
        />
        <Stat
          label="Prompt tokens"
          value={tokens(sum((row) => row.promptTokens))}
          hint={`${money(prices.promptPerMillion)} a million`}
        />
        <Stat
          label="Completion tokens"
          value={tokens(sum((row) => row.completionTokens))}
          hint={`${money(prices.completionPerMillion)} a million`}
        />
        <Stat label="Requests" value={count(sum((row) => (row.kind === "inference" ? row.requests : 0)))} />
      </StatGrid>
      {rows.length === 0 ? (
        <Card>
          <EmptyState
            icon={<ChartColumn />}
            title="Nothing used in this time"
            action={
              <Link href="/jobs/new" className={buttonStyles({ variant: "primary" })}>
                New job
              </Link>
            }
          >
            Training runs, playground prompts, evaluations and API calls are all counted here, each once.
          </EmptyState>
        </Card>
      ) : (
        <>
          <Card>
            <CardHeader title="Cost by day" hint="US dollars, by adapter" />
            <UsageChart rows={rows} days={days} />
          </Card>
          <Card>
            <CardHeader title="By day and adapter" />
            <UsageTable rows={rows} total={report.totalMicroUsd} />
          </Card>
        </>
      )}
    </>
  );
}
