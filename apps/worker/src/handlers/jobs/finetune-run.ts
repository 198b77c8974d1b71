import type { finetuneRun } from "@grove/contracts/messages";
import type { Services } from "@grove/core/context";
import { runJob } from "@grove/core/jobs/run-job";
import type { Handler } from "@grove/queue/consume";

export function finetuneRunHandler(services: Services): Handler<typeof finetuneRun.payload> {
  return (message, { signal }) => runJob(services, message, signal);
}
