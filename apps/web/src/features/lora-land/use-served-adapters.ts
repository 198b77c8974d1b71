import { isServed } from "@grove/contracts/jobs";
import { useQuery } from "@tanstack/react-query";
import { useTRPC } from "@/features/shared/trpc";

/** The organisation's adapters that the engine answers with. */
export function useServedAdapters() {
  const trpc = useTRPC();
  return useQuery(
    trpc.adapters.list.queryOptions(undefined, { select: (items) => items.filter(({ config }) => isServed(config)) }),
  );
}
