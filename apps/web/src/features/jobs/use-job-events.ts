"use client";
import type { JobEventView } from "@grove/contracts/jobs";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import type { ApiError } from "@/features/shared/failure";
import { useTRPCClient } from "@/features/shared/trpc";
import { useLastLook } from "@/features/shared/use-last-look";

const pageSize = 2_000;

/** All events of a job; while it runs, only those after the last one seen are asked for. */
export function useJobEvents(jobId: string, running: boolean) {
  const client = useTRPCClient();
  const queryClient = useQueryClient();
  const queryKey = ["job-events", jobId] as const;
  const query = useQuery<JobEventView[], ApiError>({
    queryKey,
    refetchInterval: running ? 1_000 : false,
    queryFn: async ({ signal }) => {
      let events = queryClient.getQueryData<JobEventView[]>(queryKey) ?? [];
      for (;;) {
        const more = await client.jobs.events.query(
          { jobId, afterSeq: events.at(-1)?.seq ?? 0, limit: pageSize },
          { signal },
        );
        if (more.length > 0) events = [...events, ...more];
        if (more.length < pageSize) return events;
      }
    },
  });
  useLastLook(running, query.refetch);
  return query;
}
