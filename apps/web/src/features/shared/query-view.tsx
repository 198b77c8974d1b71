"use client";
import { ErrorState, LoadingRows } from "@grove/ui/states";
import type { ReactNode } from "react";
import { type ApiError, failureOf } from "./failure";

type QueryViewProps<T> = {
  query: { data: T | undefined; error: ApiError | null; refetch: () => unknown };
  what: string; // "your data sets": completes "Could not load …"
  loading?: ReactNode;
  isEmpty?: (data: T) => boolean;
  empty?: ReactNode;
  children: (data: T) => ReactNode;
};

/** One of four views: loading, error with a retry, empty, data. Data once loaded stays in view while a refresh fails. */
export function QueryView<T>({ query, what, loading, isEmpty, empty, children }: QueryViewProps<T>) {
  if (query.data === undefined) {
    if (query.error !== null) {
      return (
        <ErrorState
          title={`Could not load ${what}`}
          message={failureOf(query.error).message}
          onRetry={() => void query.refetch()}
        />
      );
    }
    return loading ?? <LoadingRows />;
  }
  if (isEmpty?.(query.data) === true) return empty;
  return children(query.data);
}
