import type { EvalView } from "@grove/contracts/evals";
import type { JobView } from "@grove/contracts/jobs";
import { StatusBadge } from "@grove/ui/badge";
import { Card, CardHeader } from "@grove/ui/card";
import Link from "next/link";
import { Lift } from "@/features/adapters/lift";
import { percent } from "@/features/shared/format";
import { TimeAgo } from "@/features/shared/time";

/** The newest runs of both kinds, side by side. */
export function AtWork({ jobs, evals }: { jobs: JobView[]; evals: EvalView[] }) {
  if (jobs.length === 0) return null;
  return (
    <div className="grid items-start gap-6 lg:grid-cols-2">
      <Card>
        <CardHeader title="Newest jobs">
          <Link href="/jobs" className="text-link text-[13px]">
            All jobs
          </Link>
        </CardHeader>
        <ul className="divide-y divide-line">
          {jobs.map((job) => (
            <li
              key={job.id}
              className="relative flex items-center justify-between gap-4 px-5 py-3 text-sm hover:bg-sunken/60"
            >
              <span className="min-w-0">
                <Link href={`/jobs/${job.id}`} className="row-link block truncate">
                  {job.name}
                </Link>
                <span className="text-xs text-muted">
                  <TimeAgo date={job.createdAt} />
                </span>
              </span>
              <StatusBadge status={job.status} />
            </li>
          ))}
        </ul>
      </Card>
      <Card>
        <CardHeader title="Newest evaluations">
          <Link href="/evals" className="text-link text-[13px]">
            All evaluations
          </Link>
        </CardHeader>
        {evals.length === 0 ? (
          <p className="px-5 py-8 text-center text-sm text-muted">
            None yet. An evaluation says whether an adapter beats its base.
          </p>
        ) : (
          <ul className="divide-y divide-line">
            {evals.map((item) => (
              <li
                key={item.id}
                className="relative flex items-center justify-between gap-4 px-5 py-3 text-sm hover:bg-sunken/60"
              >
                <span className="min-w-0">
                  <Link href={`/evals/${item.id}`} className="row-link block truncate">
                    {item.adapterId}
                  </Link>
                  <span className="text-xs text-muted">
                    <TimeAgo date={item.createdAt} />
                  </span>
                </span>
                {item.summary === null ? (
                  <StatusBadge status={item.status} />
                ) : (
                  <span className="flex items-baseline gap-3">
                    <span className="font-medium tabular-nums">{percent(item.summary.adapter.score)}</span>
                    <Lift result={{ adapterScore: item.summary.adapter.score, baseScore: item.summary.base.score }} />
                  </span>
                )}
              </li>
            ))}
          </ul>
        )}
      </Card>
    </div>
  );
}
