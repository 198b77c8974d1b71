"use client";
import { buttonStyles } from "@grove/ui/button";
import { Card } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState } from "@grove/ui/states";
import { useInfiniteQuery } from "@tanstack/react-query";
import { FlaskConical, Plus } from "lucide-react";
import Link from "next/link";
import { LoadMore } from "@/features/shared/load-more";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { EvalTable, isRunningEval } from "./eval-table";

export function EvalsPage() {
  const trpc = useTRPC();
  const list = useInfiniteQuery(
    trpc.evals.list.infiniteQueryOptions(
      { limit: 25 },
      {
        getNextPageParam: (page) => page.nextCursor,
        refetchInterval: (query) =>
          query.state.data?.pages.some((page) => page.items.some(isRunningEval)) === true ? 2_000 : false,
      },
    ),
  );
  const start = (
    <Link href="/evals/new" className={buttonStyles({ variant: "primary" })}>
      <Plus /> New evaluation
    </Link>
  );
  return (
    <Page>
      <PageHeader
        title="Evals"
        description="An adapter and its base answer the same held-out rows. The score says whether the training paid."
      >
        {start}
      </PageHeader>
      <Card>
        <QueryView
          query={list}
          what="your evaluations"
          isEmpty={(data) => data.pages[0]?.items.length === 0}
          empty={
            <EmptyState icon={<FlaskConical />} title="No evaluations yet" action={start}>
              Choose an adapter and how many rows of its test split to ask. You get both scores, and the rows it got
              wrong first.
            </EmptyState>
          }
        >
          {(data) => (
            <>
              <EvalTable evals={data.pages.flatMap((page) => page.items)} />
              <LoadMore
                hasMore={list.hasNextPage}
                busy={list.isFetchingNextPage}
                onMore={() => void list.fetchNextPage()}
              />
            </>
          )}
        </QueryView>
      </Card>
    </Page>
  );
}
