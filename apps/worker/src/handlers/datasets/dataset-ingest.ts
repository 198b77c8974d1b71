import { fail } from "@grove/contracts/errors";
import type { datasetIngest } from "@grove/contracts/messages";
import type { Services } from "@grove/core/context";
import { failDataset, ingestDataset } from "@grove/core/datasets/ingest";
import type { Handler } from "@grove/queue/consume";

/** What nobody foresaw is tried again; after the last try the data set says so, instead of being read for ever. */
export function datasetIngestHandler(services: Services): Handler<typeof datasetIngest.payload> {
  return async ({ datasetId }, { lastAttempt }) => {
    try {
      return await ingestDataset(services, datasetId);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (lastAttempt)
        await failDataset(services, datasetId, fail("internal", `The file could not be read: ${message}`));
      throw error;
    }
  };
}
