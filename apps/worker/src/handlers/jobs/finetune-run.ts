import type { finetuneRun } from "@grove/contracts/messages";
import type { Services } from "@grove/core/context";
import { runJob } from "@grove/core/jobs/run-job";
import type { Trainers } from "@grove/core/jobs/trainers";
import type { Handler } from "@grove/queue/consume";

export function finetuneRunHandler(services: Services, trainers: Trainers): Handler<typeof finetuneRun.payload> {
  return (message, { signal }) => runJob(services, trainers, message, signal);
}
