import type { checkpointScore } from "@grove/contracts/messages";
import type { Services } from "@grove/core/context";
import { scoreCheckpoint } from "@grove/core/evals/score-checkpoint";
import type { Handler } from "@grove/queue/consume";

export function checkpointScoreHandler(services: Services): Handler<typeof checkpointScore.payload> {
  return (message, { signal }) => scoreCheckpoint(services, message, signal);
}
