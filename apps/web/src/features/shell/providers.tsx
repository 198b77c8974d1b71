"use client";
import type { AppRouter } from "@grove/api";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createTRPCClient, httpBatchStreamLink, TRPCClientError } from "@trpc/client";
import { type ReactNode, useState } from "react";
import superjson from "superjson";
import { TRPCProvider } from "@/features/shared/trpc";

function isFinal(error: unknown): boolean {
  return error instanceof TRPCClientError && typeof error.data?.httpStatus === "number" && error.data.httpStatus < 500;
}

function isSignedOut(error: unknown): boolean {
  return error instanceof TRPCClientError && error.data?.code === "UNAUTHORIZED";
}

function makeQueryClient(): QueryClient {
  return new QueryClient({
    // a session that ended while a page was open
    queryCache: new QueryCache({
      onError: (error) =>
        isSignedOut(error) && window.location.assign(`/sign-in?next=${encodeURIComponent(window.location.pathname)}`),
    }),
    defaultOptions: {
      queries: { staleTime: 2_000, retry: (count, error) => !isFinal(error) && count < 2, refetchOnWindowFocus: true },
    },
  });
}

export function Providers({ children }: { children: ReactNode }) {
  const [queryClient] = useState(makeQueryClient);
  const [trpcClient] = useState(() =>
    createTRPCClient<AppRouter>({
      links: [httpBatchStreamLink({ url: "/api/trpc", transformer: superjson, methodOverride: "POST" })],
    }),
  );
  return (
    <QueryClientProvider client={queryClient}>
      <TRPCProvider trpcClient={trpcClient} queryClient={queryClient}>
        {children}
      </TRPCProvider>
    </QueryClientProvider>
  );
}
