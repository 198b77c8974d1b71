"use client";
import type { RepositoryView } from "@grove/contracts/adapters";
import { buttonStyles } from "@grove/ui/button";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { useInfiniteQuery } from "@tanstack/react-query";
import { FileInput, Shapes } from "lucide-react";
import Link from "next/link";
import { bytes, percent, plural } from "@/features/shared/format";
import { PagedList } from "@/features/shared/paged-list";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { Lift } from "./lift";

export function AdaptersPage() {
  const trpc = useTRPC();
  const list = useInfiniteQuery(
    trpc.adapters.repositories.list.infiniteQueryOptions(
      { limit: 25 },
      { getNextPageParam: (page) => page.nextCursor },
    ),
  );
  const start = (
    <Link href="/jobs/new" className={buttonStyles({ variant: "primary" })}>
      New job
    </Link>
  );
  return (
    <Page>
      <PageHeader
        title="Adapters"
        description="What your jobs made: a few megabytes each, all served from one copy of the base model."
      >
        <Link href="/import" className={buttonStyles()}>
          <FileInput /> Import
        </Link>
      </PageHeader>
      <PagedList
        list={list}
        what="your adapters"
        empty={
          <EmptyState icon={<Shapes />} title="No adapters yet" action={start}>
            A finished job publishes its adapter here, ready to be called, evaluated or downloaded.
          </EmptyState>
        }
      >
        {(repositories) => <RepositoryTable repositories={repositories} />}
      </PagedList>
    </Page>
  );
}

function RepositoryTable({ repositories }: { repositories: RepositoryView[] }) {
  return (
    <Table
      label="Adapters"
      head={
        <>
          <Th>Repository</Th>
          <Th>Base model</Th>
          <Th align="right">Newest</Th>
          <Th align="right">Size</Th>
          <Th align="right">Score</Th>
          <Th align="right">Over base</Th>
          <Th align="right">Trained</Th>
        </>
      }
    >
      {repositories.map((repository) => {
        const newest = repository.versions[0];
        return (
          <Tr key={repository.id}>
            <Td>
              <Link href={`/adapters/${repository.name}`} className="row-link">
                {repository.name}
              </Link>
              <span className="block text-xs text-faint">
                {repository.versions.length === 0 ? "in training" : plural(repository.versions.length, "version")}
              </span>
            </Td>
            <Td tone="muted">{repository.baseModel}</Td>
            <Td align="right">{newest === undefined ? "–" : `v${newest.version}`}</Td>
            <Td align="right" tone="muted">
              {newest === undefined ? "–" : bytes(newest.bytes)}
            </Td>
            <Td align="right">{newest?.bestEval == null ? "–" : percent(newest.bestEval.adapterScore)}</Td>
            <Td align="right">
              {newest?.bestEval == null ? (
                <span className="text-faint">not evaluated</span>
              ) : (
                <Lift result={newest.bestEval} />
              )}
            </Td>
            <Td align="right" tone="muted">
              <TimeAgo date={newest?.createdAt ?? repository.createdAt} />
            </Td>
          </Tr>
        );
      })}
    </Table>
  );
}
