import type { JobView } from "@grove/contracts/jobs";
import { Card, Stat, StatGrid } from "@grove/ui/card";
import { ProgressBar } from "@grove/ui/progress";
import { count, duration, money, percent, tokens } from "@/features/shared/format";
import type { TrainingStory } from "./training-curve";

type JobFiguresProps = { job: JobView; story: TrainingStory };

export function JobFigures({ job, story }: JobFiguresProps) {
  if (job.result !== null) {
    const { trainTokens, seconds, trainLoss, validationLoss, costMicroUsd } = job.result;
    return (
      <StatGrid>
        <Stat label="Training loss" value={trainLoss.toFixed(4)} />
        <Stat label="Validation loss" value={validationLoss === null ? "–" : validationLoss.toFixed(4)} />
        <Stat label="Training tokens" value={tokens(trainTokens)} />
        <Stat label="Time" value={duration(seconds)} />
        <Stat label="Cost" value={money(costMicroUsd)} />
      </StatGrid>
    );
  }
  if (job.status !== "training" && job.status !== "publishing") return null;
  const step = Math.max(job.progress?.step ?? 0, story.last?.step ?? 0);
  const total = story.last?.total_steps ?? job.progress?.totalSteps ?? 0;
  const left = story.last?.seconds_left ?? job.progress?.secondsLeft ?? null;
  return (
    <div className="flex flex-col gap-3">
      <StatGrid>
        <Stat
          label="Step"
          value={total === 0 ? "–" : `${count(step)} of ${count(total)}`}
          hint={total === 0 ? undefined : percent(step / total)}
        />
        <Stat
          label="Time left"
          value={job.status === "publishing" ? "Publishing…" : left === null ? "–" : duration(left)}
        />
        <Stat label="Loss" value={story.last === null ? "–" : story.last.loss.toFixed(4)} />
        <Stat label="Tokens a second" value={story.last === null ? "–" : count(story.last.tokens_per_second)} />
        <Stat label="Epoch" value={story.last === null ? "–" : story.last.epoch.toFixed(2)} />
      </StatGrid>
      <Card>
        <div className="px-5 py-3.5">
          <ProgressBar fraction={total === 0 ? 0 : step / total} label="Training progress" />
        </div>
      </Card>
    </div>
  );
}
