"use client";
import type { DatasetView } from "@grove/contracts/datasets";
import type { BaseModelView } from "@grove/contracts/serving";
import { buttonStyles } from "@grove/ui/button";
import { Card } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState, LoadingPage } from "@grove/ui/states";
import { useQuery } from "@tanstack/react-query";
import { Database } from "lucide-react";
import Link from "next/link";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { JobForm } from "./job-form";

export function NewJobPage({ datasetId }: { datasetId: string | null }) {
  const trpc = useTRPC();
  const datasets = useQuery(trpc.datasets.list.queryOptions({ limit: 100 }));
  const models = useQuery(trpc.serving.baseModels.queryOptions());
  return (
    <Page>
      <PageHeader
        above={
          <Link href="/jobs" className="text-link">
            Jobs
          </Link>
        }
        title="New job"
        description="Teach the base model your task. You see what it reads and what it costs before it starts."
      />
      <QueryView query={datasets} what="your data sets" loading={<LoadingPage />}>
        {(list) => (
          <QueryView query={models} what="the base models" loading={<LoadingPage />}>
            {(baseModels) => (
              <Chooser
                datasets={list.items.filter((item) => item.status === "ready")}
                baseModels={baseModels}
                datasetId={datasetId}
              />
            )}
          </QueryView>
        )}
      </QueryView>
    </Page>
  );
}

type ChooserProps = { datasets: DatasetView[]; baseModels: BaseModelView[]; datasetId: string | null };

function Chooser({ datasets, baseModels, datasetId }: ChooserProps) {
  const first = datasets.find((item) => item.id === datasetId) ?? datasets[0];
  if (first === undefined) {
    return (
      <Card>
        <EmptyState
          icon={<Database />}
          title="A job needs data first"
          action={
            <Link href="/datasets" className={buttonStyles({ variant: "primary" })}>
              Upload data
            </Link>
          }
        >
          Upload a CSV or JSONL file. As soon as it has been read, it can be trained on here.
        </EmptyState>
      </Card>
    );
  }
  return <JobForm datasets={datasets} first={first} baseModels={baseModels} />;
}
