import type { adapterExport } from "@grove/contracts/messages";
import { runExport } from "@grove/core/adapters/run-export";
import type { Services } from "@grove/core/context";
import type { Handler } from "@grove/queue/consume";

export function adapterExportHandler(services: Services): Handler<typeof adapterExport.payload> {
  return ({ exportId }, { signal, lastAttempt }) => runExport(services, { exportId, lastAttempt }, signal);
}
