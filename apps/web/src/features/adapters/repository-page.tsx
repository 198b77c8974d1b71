"use client";
import type { AdapterVersionView, RepositoryView } from "@grove/contracts/adapters";
import { buttonStyles } from "@grove/ui/button";
import { Card, CardBody, CardHeader, Facts } from "@grove/ui/card";
import { CopyButton } from "@grove/ui/copy-button";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState, LoadingPage } from "@grove/ui/states";
import { Tabs } from "@grove/ui/tabs";
import { useQuery } from "@tanstack/react-query";
import { Activity, Download, FlaskConical, Sparkles } from "lucide-react";
import Link from "next/link";
import { type ReactNode, useState } from "react";
import { EvaluateLink } from "@/features/evals/evaluate-link";
import { JobConfigView } from "@/features/jobs/job-config-view";
import { NotServedNotice } from "@/features/jobs/not-served-notice";
import { TryLink } from "@/features/lora-land/try-link";
import { bytes, percent, shortHash } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { AdapterEvals } from "./adapter-evals";
import { Downloads } from "./downloads";
import { HubPanel } from "./hub-panel";
import { ImportedConfig } from "./imported-config";
import { Lift } from "./lift";
import { ModelCard } from "./model-card";

export function RepositoryPage({ name }: { name: string }) {
  const trpc = useTRPC();
  const repository = useQuery(trpc.adapters.repositories.get.queryOptions({ name }));
  return (
    <QueryView query={repository} what="this adapter" loading={<LoadingPage />}>
      {(data) => <RepositoryDetail repository={data} />}
    </QueryView>
  );
}

function RepositoryDetail({ repository }: { repository: RepositoryView }) {
  const [chosen, setChosen] = useState<number | null>(null);
  const version = repository.versions.find((item) => item.version === chosen) ?? repository.versions[0];
  const above = (
    <Link href="/adapters" className="text-link">
      Adapters
    </Link>
  );
  if (version === undefined) {
    return (
      <Page>
        <PageHeader above={above} title={repository.name} description={`On ${repository.baseModel}`} />
        <Card>
          <EmptyState
            icon={<Activity />}
            title="No version yet"
            action={
              <Link href="/jobs" className={buttonStyles({ variant: "primary" })}>
                See the jobs
              </Link>
            }
          >
            The first job that finishes publishes version 1 here.
          </EmptyState>
        </Card>
      </Page>
    );
  }
  return (
    <Page>
      <PageHeader above={above} title={repository.name} description={`${version.adapterId} on ${version.baseModel}`}>
        <VersionActions version={version} />
      </PageHeader>
      <div className="grid items-start gap-6 lg:grid-cols-[16rem_minmax(0,1fr)]">
        <VersionList versions={repository.versions} current={version.version} onChoose={setChosen} />
        <VersionDetail key={version.id} version={version} />
      </div>
    </Page>
  );
}

function VersionActions({ version }: { version: AdapterVersionView }) {
  return (
    <>
      <a href={`/api/adapters/${version.adapterId}/download`} download className={buttonStyles()}>
        <Download /> Download
      </a>
      <EvaluateLink adapterId={version.adapterId} config={version.config} className={buttonStyles()}>
        <FlaskConical /> Evaluate
      </EvaluateLink>
      <TryLink adapterId={version.adapterId} config={version.config} className={buttonStyles({ variant: "primary" })}>
        <Sparkles /> Try it
      </TryLink>
    </>
  );
}

type VersionListProps = { versions: AdapterVersionView[]; current: number; onChoose: (version: number) => void };

function VersionList({ versions, current, onChoose }: VersionListProps) {
  return (
    <Card>
      <CardHeader title="Versions" />
      <ul className="divide-y divide-line">
        {versions.map((version) => (
          <li key={version.id}>
            <button
              type="button"
              aria-current={version.version === current ? "true" : undefined}
              onClick={() => onChoose(version.version)}
              className={`flex w-full cursor-pointer items-baseline justify-between gap-3 px-5 py-3 text-left text-sm outline-none focus-visible:ring-2 focus-visible:ring-accent/60 focus-visible:ring-inset ${version.version === current ? "bg-accent-soft" : "hover:bg-sunken"}`}
            >
              <span>
                <span className="font-medium">v{version.version}</span>
                <span className="block text-xs text-muted">
                  <TimeAgo date={version.createdAt} />
                </span>
              </span>
              {version.bestEval === null ? (
                <span className="text-xs text-faint">not evaluated</span>
              ) : (
                <Lift result={version.bestEval} />
              )}
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** The job that made it, or where it was imported from. */
function madeBy({ jobId, origin }: AdapterVersionView): { label: string; value: ReactNode } {
  if (jobId !== null)
    return {
      label: "Made by",
      value: (
        <Link href={`/jobs/${jobId}`} className="text-link">
          the job
        </Link>
      ),
    };
  if (origin?.kind !== "hub") return { label: "Imported from", value: "an uploaded folder" };
  const { repo, revision, commit, endpoint } = origin;
  return {
    label: "Imported from",
    value: <span title={`${endpoint}/${repo} at ${commit}`}>{`${repo}@${revision} (${shortHash(commit)}…)`}</span>,
  };
}

function VersionDetail({ version }: { version: AdapterVersionView }) {
  const [tab, setTab] = useState("about");
  return (
    <div className="flex min-w-0 flex-col gap-6">
      <NotServedNotice config={version.config} />
      <Card>
        <Facts
          items={[
            {
              label: "Adapter id",
              value: (
                <span className="inline-flex items-center gap-1 font-mono text-[13px]">
                  {version.adapterId} <CopyButton text={version.adapterId} label="Copy the adapter id" look="icon" />
                </span>
              ),
            },
            {
              label: "SHA-256",
              value: (
                <span className="inline-flex items-center gap-1 font-mono text-[13px]" title={version.sha256}>
                  {shortHash(version.sha256)}… <CopyButton text={version.sha256} label="Copy the SHA-256" look="icon" />
                </span>
              ),
            },
            { label: "Size", value: bytes(version.bytes) },
            { label: "Training loss", value: version.trainLoss === null ? "–" : version.trainLoss.toFixed(4) },
            {
              label: "Validation loss",
              value: version.validationLoss === null ? "–" : version.validationLoss.toFixed(4),
            },
            {
              label: "Newest score",
              value:
                version.bestEval === null
                  ? "not evaluated"
                  : `${percent(version.bestEval.adapterScore)} against ${percent(version.bestEval.baseScore)} of the base`,
            },
            madeBy(version),
            ...(version.datasetId === null
              ? []
              : [
                  {
                    label: "Trained on",
                    value: (
                      <Link href={`/datasets/${version.datasetId}`} className="text-link">
                        the data set
                      </Link>
                    ),
                  },
                ]),
          ]}
        />
      </Card>
      <Tabs
        label="Version"
        value={tab}
        onChange={setTab}
        tabs={[
          {
            value: "about",
            title: "Model card",
            content: (
              <Card>
                <CardBody>
                  <ModelCard adapterId={version.adapterId} />
                </CardBody>
              </Card>
            ),
          },
          {
            value: "download",
            title: "Download and share",
            content: (
              <div className="flex flex-col gap-6">
                <Downloads adapterId={version.adapterId} bytes={version.bytes} />
                <HubPanel adapterId={version.adapterId} />
              </div>
            ),
          },
          {
            value: "config",
            title: "Configuration",
            content: (
              <Card>
                {version.origin === null ? (
                  <JobConfigView config={version.config} />
                ) : (
                  <ImportedConfig config={version.config} baseModel={version.origin.baseModel} />
                )}
              </Card>
            ),
          },
          {
            value: "evals",
            title: "Evals",
            content: <AdapterEvals adapterId={version.adapterId} config={version.config} />,
          },
        ]}
      />
    </div>
  );
}
