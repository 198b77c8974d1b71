"use client";
import type { DatasetProfile, DatasetView } from "@grove/contracts/datasets";
import { StatusBadge } from "@grove/ui/badge";
import { Button, buttonStyles } from "@grove/ui/button";
import { Card, CardBody, CardHeader, Stat, StatGrid } from "@grove/ui/card";
import { ConfirmDialog } from "@grove/ui/dialog";
import { Page, PageHeader } from "@grove/ui/page";
import { LoadingPage, LoadingRows, Notice } from "@grove/ui/states";
import { Tabs } from "@grove/ui/tabs";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Sparkles, Trash2 } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { bytes, count, percent, plural } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { balanceOf } from "./class-balance";
import { ClassBalanceView } from "./class-balance-view";
import { ColumnTable } from "./column-table";
import { isMoving } from "./datasets-page";
import { SampleTable } from "./sample-table";
import { TemplateEditor } from "./template-editor";
import { LiveTemplatePreview } from "./template-preview";
import { guessKind, startTemplate, type TemplateValues } from "./template-values";

export function DatasetPage({ id }: { id: string }) {
  const trpc = useTRPC();
  const dataset = useQuery(
    trpc.datasets.get.queryOptions(
      { id },
      { refetchInterval: (query) => (query.state.data !== undefined && isMoving(query.state.data) ? 1_000 : false) },
    ),
  );
  return (
    <QueryView query={dataset} what="this data set" loading={<LoadingPage />}>
      {(data) => <DatasetDetail dataset={data} />}
    </QueryView>
  );
}

function DatasetDetail({ dataset }: { dataset: DatasetView }) {
  return (
    <Page>
      <PageHeader
        above={
          <Link href="/datasets" className="text-link">
            Datasets
          </Link>
        }
        title={
          <>
            {dataset.name} <StatusBadge status={dataset.status} />
          </>
        }
        description={`${dataset.fileName} · ${bytes(dataset.bytes)}`}
      >
        <DeleteDataset id={dataset.id} name={dataset.name} />
        {dataset.status === "ready" ? (
          <Link href={`/jobs/new?dataset=${dataset.id}`} className={buttonStyles({ variant: "primary" })}>
            <Sparkles /> Fine-tune on this
          </Link>
        ) : null}
      </PageHeader>
      {dataset.error === null ? null : (
        <Notice
          tone="bad"
          title={
            dataset.error.line === null ? "This file could not be read" : `Line ${dataset.error.line} could not be read`
          }
        >
          {dataset.error.message} Put it right in the file, delete this data set and upload it again.
        </Notice>
      )}
      {isMoving(dataset) ? (
        <Card>
          <CardHeader
            title="Reading the file"
            hint="Counting rows, columns, empty cells and duplicates. This page shows them by itself."
          />
          <LoadingRows rows={4} />
        </Card>
      ) : null}
      {dataset.profile === null ? null : <Profile dataset={dataset} profile={dataset.profile} />}
    </Page>
  );
}

function Profile({ dataset, profile }: { dataset: DatasetView; profile: DatasetProfile }) {
  const [tab, setTab] = useState("columns");
  const { train, validation, test } = profile.splitRows;
  return (
    <>
      <StatGrid>
        <Stat label="Rows" value={count(profile.rows)} hint={plural(profile.columns.length, "column")} />
        <Stat
          label="Duplicate rows"
          value={count(profile.duplicateRows)}
          hint={profile.rows === 0 ? undefined : percent(profile.duplicateRows / profile.rows)}
        />
        <Stat
          label="Train"
          value={count(train)}
          hint={profile.splitBy === "column" ? "by the split column" : `random, seed ${dataset.splitSeed}`}
        />
        <Stat label="Validation" value={count(validation)} hint="watches the training" />
        <Stat label="Test" value={count(test)} hint="held out for evaluations" />
      </StatGrid>
      <LeakNotice rows={profile.leakedRows ?? 0} />
      <Tabs
        label="Data set"
        value={tab}
        onChange={setTab}
        tabs={[
          {
            value: "columns",
            title: "Columns",
            content: <ColumnTable rows={profile.rows} columns={profile.columns} />,
          },
          ...balanceTabs(profile),
          {
            value: "samples",
            title: "First rows",
            content: <SampleTable columns={profile.columns} samples={profile.samples} />,
          },
          {
            value: "template",
            title: "Template and token lengths",
            content: <TemplateTrial dataset={dataset} profile={profile} />,
          },
        ]}
      />
    </>
  );
}

function LeakNotice({ rows }: { rows: number }) {
  if (rows === 0) return null;
  return (
    <Notice
      tone="warn"
      title={`${plural(rows, "row")} of the training split ${rows === 1 ? "stands" : "stand"} in the validation or test split too`}
    >
      What was learnt by heart is then counted as understood, so scores come out too high. Take them out of one side and
      upload the file again.
    </Notice>
  );
}

/** None where no column holds labels. */
function balanceTabs(profile: DatasetProfile) {
  const cards = profile.columns
    .filter((column) => column.name.toLowerCase() !== "split")
    .flatMap((column) => {
      const balance = balanceOf(column, profile.rows);
      return balance === null ? [] : [{ name: column.name, balance }];
    });
  if (cards.length === 0) return [];
  const content = (
    <div className="grid items-start gap-5 lg:grid-cols-2">
      {cards.map(({ name, balance }) => (
        <Card key={name}>
          <CardHeader title={name} hint={`${plural(balance.answered, "row")}, all splits together`} />
          <CardBody>
            <ClassBalanceView balance={balance} />
          </CardBody>
        </Card>
      ))}
    </div>
  );
  return [{ value: "balance", title: "Class balance", content }];
}

function TemplateTrial({ dataset, profile }: { dataset: DatasetView; profile: DatasetProfile }) {
  const [values, setValues] = useState<TemplateValues>(() => startTemplate(profile, guessKind(profile)));
  return (
    <div className="grid items-start gap-5 lg:grid-cols-2">
      <Card>
        <CardHeader title="Try a template" hint="Nothing is saved here; a job keeps its own." />
        <CardBody>
          <TemplateEditor
            profile={profile}
            values={values}
            errors={{ promptTemplate: null, targetColumn: null, rejectedColumn: null }}
            onChange={setValues}
          />
        </CardBody>
      </Card>
      <Card>
        <CardHeader title="What the model sees" hint="The answer it learns is marked." />
        <CardBody>
          <LiveTemplatePreview input={{ datasetId: dataset.id, ...values }} />
        </CardBody>
      </Card>
    </div>
  );
}

function DeleteDataset({ id, name }: { id: string; name: string }) {
  const trpc = useTRPC();
  const router = useRouter();
  const queryClient = useQueryClient();
  const [open, setOpen] = useState(false);
  const remove = useMutation(
    trpc.datasets.delete.mutationOptions({
      onSuccess: () => {
        router.push("/datasets");
        void queryClient.invalidateQueries(trpc.datasets.list.pathFilter());
      },
    }),
  );
  return (
    <>
      <Button onClick={() => setOpen(true)}>
        <Trash2 /> Delete
      </Button>
      <ConfirmDialog
        open={open}
        onOpenChange={setOpen}
        title={`Delete “${name}”?`}
        description="The file and its profile are gone for good. Adapters trained on it stay, and a data set that a job still needs is kept."
        action="Delete data set"
        busy={remove.isPending}
        error={remove.error === null ? null : failureOf(remove.error).message}
        onConfirm={() => remove.mutate({ id })}
      />
    </>
  );
}
