"use client";
import { ErrorState, LoadingRows } from "@grove/ui/states";
import { useQuery } from "@tanstack/react-query";
import { Markdown } from "@/features/shared/markdown";

async function readCard(adapterId: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(`/api/adapters/${adapterId}/files/README.md`, { signal });
  if (!answer.ok) throw new Error(`The model card could not be read (HTTP ${answer.status}).`);
  return answer.text();
}

export function ModelCard({ adapterId }: { adapterId: string }) {
  const card = useQuery({
    queryKey: ["model-card", adapterId],
    queryFn: ({ signal }) => readCard(adapterId, signal),
    staleTime: 30_000, // an evaluation that ends adds its scores
  });
  if (card.data !== undefined) return <Markdown text={card.data} />;
  if (card.error !== null)
    return (
      <ErrorState
        title="Could not load the model card"
        message={card.error.message}
        onRetry={() => void card.refetch()}
      />
    );
  return <LoadingRows rows={4} />;
}
