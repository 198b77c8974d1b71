"use client";
import { hasRightAnswers } from "@grove/contracts/evals";
import type { JobConfig } from "@grove/contracts/jobs";
import { buttonStyles } from "@grove/ui/button";
import { Card } from "@grove/ui/card";
import { EmptyState } from "@grove/ui/states";
import { useQuery } from "@tanstack/react-query";
import { FlaskConical } from "lucide-react";
import { EvalTable } from "@/features/evals/eval-table";
import { EvaluateLink } from "@/features/evals/evaluate-link";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";

/** Evaluations of one version, among the newest hundred of the organisation. */
export function AdapterEvals({ adapterId, config }: { adapterId: string; config: JobConfig }) {
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
            title={hasRightAnswers(config) ? "Not evaluated yet" : "Nothing to compare with"}
            action={
              <EvaluateLink adapterId={adapterId} config={config} className={buttonStyles({ variant: "primary" })}>
                Evaluate this version
              </EvaluateLink>
            }
          >
            {hasRightAnswers(config)
              ? "Run it and its base over held-out rows, and see which is better and where it fails."
              : "An evaluation compares answers with a column of right ones; what this adapter learnt from has none. Its validation loss says how well it fits."}
          </EmptyState>
        }
      >
        {(items) => <EvalTable evals={items} />}
      </QueryView>
    </Card>
  );
}
