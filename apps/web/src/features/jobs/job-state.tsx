import type { JobView } from "@grove/contracts/jobs";
import { StatusBadge } from "@grove/ui/badge";
import { ProgressBar } from "@grove/ui/progress";
import { duration } from "@/features/shared/format";

/** A job's status in a list, with how far it is. */
export function JobState({ job }: { job: JobView }) {
  if (job.status !== "training" || job.progress === null || job.progress.totalSteps === 0)
    return <StatusBadge status={job.status} />;
  const { step, totalSteps, secondsLeft } = job.progress;
  return (
    <span className="flex items-center gap-3">
      <StatusBadge status={job.status} />
      <span className="w-20">
        <ProgressBar fraction={step / totalSteps} label={`Progress of ${job.name}`} />
      </span>
      {secondsLeft === null ? null : <span className="text-xs text-faint">{duration(secondsLeft)} left</span>}
    </span>
  );
}
