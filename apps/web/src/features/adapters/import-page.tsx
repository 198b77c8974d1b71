"use client";
import type { TransferView } from "@grove/contracts/transfers";
import { buttonStyles } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { Notice } from "@grove/ui/states";
import { Segmented } from "@grove/ui/tabs";
import { useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { useState } from "react";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { isLive } from "./downloads";
import { FolderImport } from "./folder-import";
import { HubImport } from "./hub-import";

const POLL_MS = 1_500;
const sources = [
  { value: "folder", title: "From this computer" },
  { value: "hub", title: "From a hub" },
] as const;

/** An adapter that was trained elsewhere becomes a version like any other. */
export function ImportPage() {
  const [source, setSource] = useState<(typeof sources)[number]["value"]>("folder");
  const [begun, setBegun] = useState<string | null>(null);
  const above = (
    <Link href="/adapters" className="text-link">
      Adapters
    </Link>
  );
  return (
    <Page>
      <PageHeader
        above={above}
        title="Import an adapter"
        description="A LoRA adapter in PEFT's format, trained on the base model that this installation has. It is checked, then served like your own."
      />
      <Card>
        <CardHeader title="Where is it?">
          <Segmented label="Where is it?" value={source} options={sources} onChange={setSource} />
        </CardHeader>
        <CardBody>
          {source === "folder" ? <FolderImport onBegun={setBegun} /> : <HubImport onBegun={setBegun} />}
        </CardBody>
      </Card>
      {begun === null ? null : <Progress key={begun} id={begun} />}
    </Page>
  );
}

function Progress({ id }: { id: string }) {
  const trpc = useTRPC();
  const transfer = useQuery(
    trpc.adapters.transfers.get.queryOptions(
      { id },
      { refetchInterval: ({ state }) => (state.data === undefined || isLive(state.data) ? POLL_MS : false) },
    ),
  );
  return (
    <QueryView query={transfer} what="the import">
      {(data) => <Outcome transfer={data} />}
    </QueryView>
  );
}

function Outcome({ transfer }: { transfer: TransferView }) {
  if (transfer.status === "failed")
    return (
      <Notice tone="bad" title="It was not imported">
        {transfer.message ?? "No reason was given."}
      </Notice>
    );
  if (transfer.status !== "ready" || transfer.adapterId === null)
    return <Notice tone="info" title="A worker checks the adapter…" />;
  return (
    <Notice tone="good" title={`${transfer.adapterId} is ready to be asked`}>
      <Link href={`/adapters/${transfer.adapterId.split("/")[0]}`} className={buttonStyles({ size: "sm" })}>
        See it
      </Link>
    </Notice>
  );
}
