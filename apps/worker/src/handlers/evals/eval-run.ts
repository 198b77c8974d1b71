import type { evalRun } from "@grove/contracts/messages";
import type { Services } from "@grove/core/context";
import { runEval } from "@grove/core/evals/run-eval";
import type { Handler } from "@grove/queue/consume";

export function evalRunHandler(services: Services): Handler<typeof evalRun.payload> {
  return ({ evalId }, { signal, lastAttempt }) => runEval(services, { evalId, lastAttempt }, signal);
}
