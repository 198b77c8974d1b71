import type { adapterTransfer } from "@grove/contracts/messages";
import { runTransfer } from "@grove/core/adapters/run-transfer";
import type { Services } from "@grove/core/context";
import type { Handler } from "@grove/queue/consume";

export function adapterTransferHandler(services: Services): Handler<typeof adapterTransfer.payload> {
  return ({ transferId }, { signal, lastAttempt }) => runTransfer(services, { transferId, lastAttempt }, signal);
}
