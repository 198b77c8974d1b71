"use client";
import type { DatasetView } from "@grove/contracts/datasets";
import { StatusBadge } from "@grove/ui/badge";
import { Button } from "@grove/ui/button";
import { Dialog } from "@grove/ui/dialog";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Database, Upload } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { bytes, count } from "@/features/shared/format";
import { PagedList, whileAny } from "@/features/shared/paged-list";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { UploadPanel } from "./upload-panel";
import { useFileDrop } from "./use-file-drop";

type Dialogue = { open: false } | { open: true; file: File | null };

export function isMoving(dataset: Pick<DatasetView, "status">): boolean {
  return dataset.status === "profiling";
}

export function DatasetsPage() {
  const trpc = useTRPC();
  const router = useRouter();
  const [dialogue, setDialogue] = useState<Dialogue>({ open: false });
  const list = useInfiniteQuery(
    trpc.datasets.list.infiniteQueryOptions(
      { limit: 25 },
      {
        getNextPageParam: (page) => page.nextCursor,
        refetchInterval: whileAny(isMoving, 1_500),
      },
    ),
  );
  useFileDrop((file) => setDialogue({ open: true, file }));
  const upload = (
    <Button variant="primary" onClick={() => setDialogue({ open: true, file: null })}>
      <Upload /> Upload data
    </Button>
  );
  return (
    <>
      <Page>
        <PageHeader
          title="Datasets"
          description="Examples to learn from: CSV or JSONL, one row an example. Drop a file anywhere on this page."
        >
          {upload}
        </PageHeader>
        <PagedList
          list={list}
          what="your data sets"
          empty={
            <EmptyState icon={<Database />} title="No data yet" action={upload}>
              Upload a CSV or JSONL file with the text going in and the answer you want out, for example a support
              message and its topic. A few hundred rows are enough to start.
            </EmptyState>
          }
        >
          {(datasets) => <DatasetTable datasets={datasets} />}
        </PagedList>
      </Page>
      <Dialog
        open={dialogue.open}
        onOpenChange={(open) => setDialogue(open ? { open, file: null } : { open })}
        title="Upload data"
        description="It is stored as it comes, then profiled in the background."
      >
        {dialogue.open ? (
          <UploadPanel
            key={dialogue.file?.name ?? ""}
            initialFile={dialogue.file}
            onUploaded={(id) => router.push(`/datasets/${id}`)}
          />
        ) : null}
      </Dialog>
    </>
  );
}

function DatasetTable({ datasets }: { datasets: DatasetView[] }) {
  return (
    <Table
      label="Datasets"
      head={
        <>
          <Th>Name</Th>
          <Th>Status</Th>
          <Th align="right">Rows</Th>
          <Th align="right">Columns</Th>
          <Th align="right">Size</Th>
          <Th align="right">Added</Th>
        </>
      }
    >
      {datasets.map((dataset) => (
        <Tr key={dataset.id}>
          <Td>
            <Link href={`/datasets/${dataset.id}`} className="row-link">
              {dataset.name}
            </Link>
            <span className="block text-xs text-faint">{dataset.fileName}</span>
          </Td>
          <Td>
            <StatusBadge status={dataset.status} />
          </Td>
          <Td align="right">{dataset.profile === null ? "–" : count(dataset.profile.rows)}</Td>
          <Td align="right">{dataset.profile === null ? "–" : dataset.profile.columns.length}</Td>
          <Td align="right" tone="muted">
            {bytes(dataset.bytes)}
          </Td>
          <Td align="right" tone="muted">
            <TimeAgo date={dataset.createdAt} />
          </Td>
        </Tr>
      ))}
    </Table>
  );
}
