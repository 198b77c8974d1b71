"use client";
import type { EvalView } from "@grove/contracts/evals";
import { StatusBadge } from "@grove/ui/badge";
import { Button } from "@grove/ui/button";
import { Card } from "@grove/ui/card";
import { ConfirmDialog } from "@grove/ui/dialog";
import { Page, PageHeader } from "@grove/ui/page";
import { ProgressBar } from "@grove/ui/progress";
import { LoadingPage, Notice } from "@grove/ui/states";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Square } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { count, percent } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { EvalRows } from "./eval-rows";
import { EvalSummaryView } from "./eval-summary";
import { isRunningEval } from "./eval-table";
import { metricName } from "./metric-name";

export function EvalPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const item = useQuery(
    trpc.evals.get.queryOptions(
      { id },
      {
        refetchInterval: (query) => (query.state.data !== undefined && isRunningEval(query.state.data) ? 1_000 : false),
      },
    ),
  );
  return (
    <QueryView query={item} what="this evaluation" loading={<LoadingPage />}>
      {(data) => <EvalDetail item={data} />}
    </QueryView>
  );
}

function EvalDetail({ item }: { item: EvalView }) {
  const running = isRunningEval(item);
  const repository = item.adapterId.split("/")[0] ?? "";
  return (
    <Page>
      <PageHeader
        above={
          <Link href="/evals" className="text-link">
            Evals
          </Link>
        }
        title={
          <>
            {item.adapterId} against its base <StatusBadge status={item.status} />
          </>
        }
        description={
          <>
            <Link href={`/adapters/${repository}`} className="text-link">
              {item.adapterId}
            </Link>{" "}
            and {item.baseModel} over {count(item.rows)} {item.split} rows of{" "}
            <Link href={`/datasets/${item.dataset.id}`} className="text-link">
              {item.dataset.name}
            </Link>
            , by {metricName(item.metric).toLowerCase()}
          </>
        }
      >
        {running ? <CancelEval id={item.id} /> : null}
      </PageHeader>
      {item.error === null ? null : (
        <Notice tone="bad" title={item.error.message}>
          Start it again from the adapter&apos;s page; rows already answered are kept here.
        </Notice>
      )}
      {item.status === "cancelled" ? (
        <Notice tone="warn" title="This evaluation was cancelled">
          The rows answered until then are below. No score was made of them.
        </Notice>
      ) : null}
      {item.status === "queued" ? (
        <Notice tone="info" title="Waiting for a free worker">
          It starts by itself. If it stays here, check that the worker process is running.
        </Notice>
      ) : null}
      {item.status === "running" ? (
        <Card>
          <div className="flex flex-col gap-2.5 px-5 py-4">
            <div className="flex items-baseline justify-between text-sm">
              <span className="font-medium">
                {count(item.done)} of {count(item.rows)} rows answered by both
              </span>
              <span className="text-muted tabular-nums">{percent(item.done / Math.max(1, item.rows))}</span>
            </div>
            <ProgressBar fraction={item.done / Math.max(1, item.rows)} label="Evaluation progress" />
          </div>
        </Card>
      ) : null}
      {item.summary === null ? null : <EvalSummaryView summary={item.summary} costMicroUsd={item.costMicroUsd} />}
      {item.status === "queued" ? null : <EvalRows evalId={item.id} running={running} />}
    </Page>
  );
}

function CancelEval({ id }: { id: string }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [open, setOpen] = useState(false);
  const cancel = useMutation(
    trpc.evals.cancel.mutationOptions({
      onSuccess: () => setOpen(false),
      onSettled: () => void queryClient.invalidateQueries(trpc.evals.get.queryFilter({ id })),
    }),
  );
  return (
    <>
      <Button onClick={() => setOpen(true)}>
        <Square /> Cancel evaluation
      </Button>
      <ConfirmDialog
        open={open}
        onOpenChange={setOpen}
        title="Cancel this evaluation?"
        description="The rows answered until now stay, but there will be no score. What was used is billed."
        action="Cancel evaluation"
        busy={cancel.isPending}
        error={cancel.error === null ? null : failureOf(cancel.error).message}
        onConfirm={() => cancel.mutate({ id })}
      />
    </>
  );
}
