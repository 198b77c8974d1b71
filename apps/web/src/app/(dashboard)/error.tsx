"use client";
import { Card } from "@grove/ui/card";
import { ErrorState } from "@grove/ui/states";

export default function DashboardError({ reset }: { error: Error; reset: () => void }) {
  return (
    <Card>
      <ErrorState
        title="This page broke"
        message="Something unexpected happened while it was drawn. Try again; if it stays, look at the server's log."
        onRetry={reset}
      />
    </Card>
  );
}
