"use client";
import type { AdapterVersionView } from "@grove/contracts/adapters";
import type { BaseModelView } from "@grove/contracts/serving";
import { Badge } from "@grove/ui/badge";
import { Card, CardHeader, Facts } from "@grove/ui/card";
import { CopyButton } from "@grove/ui/copy-button";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState, LoadingPage, LoadingRows } from "@grove/ui/states";
import { useQuery } from "@tanstack/react-query";
import { Server } from "lucide-react";
import Link from "next/link";
import { useServedAdapters } from "@/features/lora-land/use-served-adapters";
import { bytes, count, plural } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { QuickStart } from "./quick-start";
import { ServedAdapters } from "./served-adapters";
import { deploymentUrl } from "./snippets";

const LOOK_MS = 5_000;

type ServingPageProps = { gatewayUrl: string; tenant: string };

export function ServingPage({ gatewayUrl, tenant }: ServingPageProps) {
  const trpc = useTRPC();
  const models = useQuery(trpc.serving.baseModels.queryOptions());
  const adapters = useServedAdapters();
  const served = useQuery(trpc.serving.adapters.queryOptions(undefined, { refetchInterval: LOOK_MS }));
  return (
    <Page>
      <PageHeader
        title="Serving"
        description="One copy of the base model answers for itself and for every adapter on it. An adapter loads with its first request."
      />
      <QueryView
        query={models}
        what="the base models"
        loading={<LoadingPage />}
        isEmpty={(items) => items.length === 0}
        empty={<NoModels />}
      >
        {(items) => (
          <QueryView query={adapters} what="your adapters" loading={<LoadingPage />}>
            {(versions) => (
              <>
                {items.map((model) => (
                  <Deployment
                    key={model.id}
                    model={model}
                    address={deploymentUrl({ gatewayUrl, tenant, model: model.id })}
                    adapters={versions.filter((item) => item.baseModel === model.id)}
                  />
                ))}
                <Card>
                  <CardHeader title="In the model server" hint="What it holds right now; looked at every 5 seconds" />
                  <QueryView query={served} what="what the model server holds" loading={<LoadingRows rows={3} />}>
                    {(view) => <ServedAdapters view={view} />}
                  </QueryView>
                </Card>
                <QuickStart gatewayUrl={gatewayUrl} tenant={tenant} models={items} adapters={versions} />
              </>
            )}
          </QueryView>
        )}
      </QueryView>
    </Page>
  );
}

function NoModels() {
  return (
    <Card>
      <EmptyState icon={<Server />} title="No base model">
        This installation has no base model. Whoever runs it sets GROVE_BASE_MODEL and GROVE_BASE_MODEL_PATH and starts
        it again.
      </EmptyState>
    </Card>
  );
}

type DeploymentProps = { model: BaseModelView; address: string; adapters: AdapterVersionView[] };

function Deployment({ model, address, adapters }: DeploymentProps) {
  return (
    <Card>
      <CardHeader title={model.name} hint="Shared by everything below">
        <Badge tone="neutral">{plural(adapters.length, "adapter version")}</Badge>
      </CardHeader>
      <Facts
        items={[
          {
            label: "Address",
            value: (
              <span className="inline-flex max-w-full items-center gap-1">
                <code className="truncate font-mono text-[13px]">{address}</code>
                <CopyButton text={address} label="Copy the address" look="icon" />
              </span>
            ),
          },
          { label: "Parameters", value: model.parameters },
          { label: "Context", value: `${count(model.contextLength)} tokens` },
          { label: "Chat template", value: model.chatTemplate ? "yes" : "no" },
        ]}
      />
      {adapters.length === 0 ? null : (
        <ul aria-label="Adapters it can answer as" className="flex flex-wrap gap-2 border-t border-line px-5 py-4">
          {adapters.slice(0, 24).map((adapter) => (
            <li key={adapter.id}>
              <Link
                href={`/adapters/${adapter.repository}`}
                className="inline-flex items-center gap-2 rounded-full bg-sunken px-3 py-1 font-mono text-xs ring-1 ring-line outline-none ring-inset hover:ring-accent focus-visible:ring-2 focus-visible:ring-accent"
              >
                {adapter.adapterId} <span className="text-faint">{bytes(adapter.bytes)}</span>
              </Link>
            </li>
          ))}
          {adapters.length > 24 ? (
            <li>
              <Link href="/adapters" className="text-link px-2 py-1 text-xs">
                and {count(adapters.length - 24)} more
              </Link>
            </li>
          ) : null}
        </ul>
      )}
    </Card>
  );
}
