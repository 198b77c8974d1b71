"use client";
import { buttonStyles } from "@grove/ui/button";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState } from "@grove/ui/states";
import { useInfiniteQuery } from "@tanstack/react-query";
import { FlaskConical, Plus } from "lucide-react";
import Link from "next/link";
import { PagedList, whileAny } from "@/features/shared/paged-list";
import { useTRPC } from "@/features/shared/trpc";
import { EvalTable, isRunningEval } from "./eval-table";

export function EvalsPage() {
  const trpc = useTRPC();
  const list = useInfiniteQuery(
    trpc.evals.list.infiniteQueryOptions(
      { limit: 25 },
      {
        getNextPageParam: (page) => page.nextCursor,
        refetchInterval: whileAny(isRunningEval, 2_000),
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
      <PagedList
        list={list}
        what="your evaluations"
        empty={
          <EmptyState icon={<FlaskConical />} title="No evaluations yet" action={start}>
            Choose an adapter and how many rows of its test split to ask. You get both scores, and the rows it got wrong
            first.
          </EmptyState>
        }
      >
        {(evals) => <EvalTable evals={evals} />}
      </PagedList>
    </Page>
  );
}
