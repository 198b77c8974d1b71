import { hasRightAnswers } from "@grove/contracts/evals";
import { isServed, type JobConfig } from "@grove/contracts/jobs";
import Link from "next/link";
import type { ReactNode } from "react";

type EvaluateLinkProps = { adapterId: string; config: JobConfig; className: string; children: ReactNode };

/** Nothing for an adapter whose data has no column of right answers to compare with, or that the engine does not serve. */
export function EvaluateLink({ adapterId, config, className, children }: EvaluateLinkProps) {
  if (!hasRightAnswers(config) || !isServed(config)) return null;
  return (
    <Link href={`/evals/new?adapter=${encodeURIComponent(adapterId)}`} className={className}>
      {children}
    </Link>
  );
}
