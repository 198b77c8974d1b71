"use client";
import { buttonStyles } from "@grove/ui/button";
import { Card } from "@grove/ui/card";
import { EmptyState } from "@grove/ui/states";
import { useQuery } from "@tanstack/react-query";
import { FlaskConical } from "lucide-react";
import Link from "next/link";
import { EvalTable } from "@/features/evals/eval-table";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";

/** Evaluations of one version, among the newest hundred of the organisation. */
export function AdapterEvals({ adapterId }: { adapterId: string }) {
  const trpc = useTRPC();
  const evals = useQuery(
    trpc.evals.list.queryOptions(
      { limit: 100 },
      { select: (page) => page.items.filter((item) => item.adapterId === adapterId) },
    ),
  );
  return (
    <Card>
      <QueryView
        query={evals}
        what="its evaluations"
        isEmpty={(items) => items.length === 0}
        empty={
          <EmptyState
            icon={<FlaskConical />}
            title="Not evaluated yet"
            action={
              <Link
                href={`/evals/new?adapter=${encodeURIComponent(adapterId)}`}
                className={buttonStyles({ variant: "primary" })}
              >
                Evaluate this version
              </Link>
            }
          >
            Run it and its base over held-out rows, and see which is better and where it fails.
          </EmptyState>
        }
      >
        {(items) => <EvalTable evals={items} />}
      </QueryView>
    </Card>
  );
}
