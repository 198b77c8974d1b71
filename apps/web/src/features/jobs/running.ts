import { finishedJobStatuses, type JobView } from "@grove/contracts/jobs";

export function isRunning(job: Pick<JobView, "status">): boolean {
  return !finishedJobStatuses.includes(job.status);
}
