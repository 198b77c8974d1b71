"use client";
import { Card } from "@grove/ui/card";
import type { ReactNode } from "react";
import type { ApiError } from "./failure";
import { LoadMore } from "./load-more";
import { QueryView } from "./query-view";

type PagedListProps<T> = {
  list: {
    data: { pages: { items: T[] }[] } | undefined;
    error: ApiError | null;
    refetch: () => unknown;
    hasNextPage: boolean;
    isFetchingNextPage: boolean;
    fetchNextPage: () => unknown;
  };
  what: string; // "your data sets": completes "Could not load …"
  empty: ReactNode;
  children: (items: T[]) => ReactNode;
};

/** A page's main list, in its card: loading, error, empty, or its items with a way to more of them. */
export function PagedList<T>({ list, what, empty, children }: PagedListProps<T>) {
  return (
    <Card>
      <QueryView query={list} what={what} isEmpty={(data) => data.pages[0]?.items.length === 0} empty={empty}>
        {(data) => (
          <>
            {children(data.pages.flatMap((page) => page.items))}
            <LoadMore
              hasMore={list.hasNextPage}
              busy={list.isFetchingNextPage}
              onMore={() => void list.fetchNextPage()}
            />
          </>
        )}
      </QueryView>
    </Card>
  );
}

/** For `refetchInterval`: again after so many milliseconds while any item is still on its way. */
export function whileAny<T>(isMoving: (item: T) => boolean, milliseconds: number) {
  return (query: { state: { data?: { pages: { items: T[] }[] } | undefined } }): number | false =>
    query.state.data?.pages.some((page) => page.items.some(isMoving)) === true ? milliseconds : false;
}
