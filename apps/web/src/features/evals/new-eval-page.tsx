"use client";
import type { AdapterVersionView } from "@grove/contracts/adapters";
import type { DatasetView } from "@grove/contracts/datasets";
import { type CreateEvalRequest, createEvalInput, metrics } from "@grove/contracts/evals";
import { Button, buttonStyles } from "@grove/ui/button";
import { Card, CardBody } from "@grove/ui/card";
import { Field, Input, Select } from "@grove/ui/field";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState, LoadingPage, Notice } from "@grove/ui/states";
import { Segmented } from "@grove/ui/tabs";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Play, Shapes } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { type FormEvent, useState } from "react";
import { useServedAdapters } from "@/features/lora-land/use-served-adapters";
import { failureOf } from "@/features/shared/failure";
import { count } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { metricName } from "./metric-name";

export function NewEvalPage({ adapterId }: { adapterId: string | null }) {
  const trpc = useTRPC();
  const adapters = useServedAdapters();
  const datasets = useQuery(
    trpc.datasets.list.queryOptions(
      { limit: 100 },
      { select: (page) => page.items.filter((item) => item.status === "ready") },
    ),
  );
  return (
    <Page>
      <PageHeader
        above={
          <Link href="/evals" className="text-link">
            Evals
          </Link>
        }
        title="New evaluation"
        description="Both sides get the same prompts at the same time, and are scored the same way."
      />
      <QueryView
        query={adapters}
        what="your adapters"
        loading={<LoadingPage />}
        isEmpty={(items) => items.length === 0}
        empty={<NoAdapters />}
      >
        {(items) => (
          <QueryView query={datasets} what="your data sets" loading={<LoadingPage />}>
            {(ready) => (
              <EvalForm
                adapters={items}
                datasets={ready}
                initial={items.find((item) => item.adapterId === adapterId)?.adapterId ?? items[0]?.adapterId ?? ""}
              />
            )}
          </QueryView>
        )}
      </QueryView>
    </Page>
  );
}

function NoAdapters() {
  return (
    <Card>
      <EmptyState
        icon={<Shapes />}
        title="An evaluation needs an adapter first"
        action={
          <Link href="/jobs/new" className={buttonStyles({ variant: "primary" })}>
            New job
          </Link>
        }
      >
        Train one; as soon as its job has finished it can be evaluated here.
      </EmptyState>
    </Card>
  );
}

const splitOptions = [
  { value: "test", title: "Test" },
  { value: "validation", title: "Validation" },
] as const;

type EvalFormProps = { adapters: AdapterVersionView[]; datasets: DatasetView[]; initial: string };

function EvalForm({ adapters, datasets, initial }: EvalFormProps) {
  const trpc = useTRPC();
  const router = useRouter();
  const [adapterId, setAdapterId] = useState(initial);
  const [datasetId, setDatasetId] = useState("");
  const [split, setSplit] = useState<"test" | "validation">("test");
  const [rows, setRows] = useState("100");
  const [metric, setMetric] = useState("");
  const create = useMutation(
    trpc.evals.create.mutationOptions({ onSuccess: (item) => router.push(`/evals/${item.id}`) }),
  );

  const adapter = adapters.find((item) => item.adapterId === adapterId);
  const dataset = datasets.find((item) => item.id === (datasetId || adapter?.datasetId));
  const held = dataset?.profile?.splitRows[split];
  const request: CreateEvalRequest = {
    adapterId,
    split,
    rows: Number(rows),
    ...(datasetId === "" ? {} : { datasetId }),
    ...(metric === "" ? {} : { metric: metrics.find((item) => item === metric) }),
  };
  const checked = createEvalInput.safeParse(request);
  const rowsProblem =
    checked.success || !checked.error.issues.some((issue) => issue.path[0] === "rows")
      ? null
      : "A whole number from 1 to 10,000.";
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (checked.success) create.mutate(request);
  };
  return (
    <div className="max-w-2xl">
      <Card>
        <CardBody>
          <form onSubmit={onSubmit} className="flex flex-col gap-5">
            {create.error === null ? null : <Notice tone="bad" title={failureOf(create.error).message} />}
            <Field
              label="Adapter"
              hint={adapter === undefined ? undefined : `Compared with ${adapter.baseModel} as it is.`}
            >
              <Select name="adapterId" value={adapterId} onChange={(event) => setAdapterId(event.target.value)}>
                {adapters.map((item) => (
                  <option key={item.id} value={item.adapterId}>
                    {item.adapterId}
                  </option>
                ))}
              </Select>
            </Field>
            <Field label="Data set">
              <Select name="datasetId" value={datasetId} onChange={(event) => setDatasetId(event.target.value)}>
                <option value="">The one it was trained on</option>
                {datasets.map((item) => (
                  <option key={item.id} value={item.id}>
                    {item.name}
                  </option>
                ))}
              </Select>
            </Field>
            <div className="grid gap-5 sm:grid-cols-2">
              <div className="flex flex-col gap-1.5">
                <span className="text-[13px] font-medium">Split</span>
                <div>
                  <Segmented label="Split" value={split} options={splitOptions} onChange={setSplit} />
                </div>
                <p className="text-[13px] text-muted">
                  {held === undefined ? "Rows that training never saw." : `${count(held)} rows held out of training.`}
                </p>
              </div>
              <Field label="Rows" error={rowsProblem} hint="More rows, a surer score and a longer wait.">
                <Input name="rows" inputMode="numeric" value={rows} onChange={(event) => setRows(event.target.value)} />
              </Field>
            </div>
            <Field label="Metric" hint="Automatic: accuracy where the answers are labels, else ROUGE-L.">
              <Select name="metric" value={metric} onChange={(event) => setMetric(event.target.value)}>
                <option value="">Automatic</option>
                {metrics.map((item) => (
                  <option key={item} value={item}>
                    {metricName(item)}
                  </option>
                ))}
              </Select>
            </Field>
            <div>
              <Button
                type="submit"
                variant="primary"
                size="lg"
                busy={create.isPending || create.isSuccess}
                disabled={!checked.success}
              >
                <Play /> Start evaluation
              </Button>
            </div>
          </form>
        </CardBody>
      </Card>
    </div>
  );
}
