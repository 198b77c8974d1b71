import {
  adapterExport,
  adapterTransfer,
  checkpointScore,
  datasetIngest,
  evalRun,
  finetuneRun,
  jobQuote,
} from "@grove/contracts/messages";
import { removeOldTransferFolders, sweepTransfers } from "@grove/core/adapters/sweep";
import type { Services } from "@grove/core/context";
import { removeOldWorkFolders, sweep } from "@grove/core/jobs/sweep";
import { Trainers } from "@grove/core/jobs/trainers";
import type { QueueSettings } from "@grove/queue";
import { type Consumer, consume } from "@grove/queue/consume";
import { adapterExportHandler } from "./handlers/adapters/adapter-export.ts";
import { adapterTransferHandler } from "./handlers/adapters/adapter-transfer.ts";
import { datasetIngestHandler } from "./handlers/datasets/dataset-ingest.ts";
import { checkpointScoreHandler } from "./handlers/evals/checkpoint-score.ts";
import { evalRunHandler } from "./handlers/evals/eval-run.ts";
import { finetuneRunHandler } from "./handlers/jobs/finetune-run.ts";
import { jobQuoteHandler } from "./handlers/jobs/job-quote.ts";

export type WorkerOptions = {
  lockMs: number;
  staleMs: number;
  sweepMs: number;
  trainerJobs: number; // jobs that train at once
  trainerProcesses: number; // that share the rows of each of their steps
  onError: (where: string, error: unknown) => void;
};
export type RunningWorker = { isRunning: () => boolean; stop: () => Promise<void> };

/** One handler a contract, and the sweep that makes good for lost workers and lost messages. */
export async function startWorker(services: Services, options: WorkerOptions): Promise<RunningWorker> {
  const { redisUrl, queuePrefix } = services.settings;
  const queue: QueueSettings = { redisUrl, prefix: queuePrefix };
  const as = (where: string, concurrency: number) => ({
    concurrency,
    lockMs: options.lockMs,
    onError: (error: Error) => options.onError(where, error),
  });

  const trainers = new Trainers({
    python: services.settings.python,
    most: options.trainerJobs,
    processes: options.trainerProcesses,
  });

  await removeOldWorkFolders(services);
  await removeOldTransferFolders(services);
  const sweeping = every(options.sweepMs, () =>
    sweep(services, options.staleMs)
      .then(() => sweepTransfers(services))
      .catch((error: unknown) => options.onError("sweep", error)),
  );
  const consumers: Consumer[] = [
    consume(queue, datasetIngest, datasetIngestHandler(services), as("dataset-ingest", 2)),
    consume(queue, finetuneRun, finetuneRunHandler(services, trainers), as("finetune-run", options.trainerJobs)),
    consume(queue, jobQuote, jobQuoteHandler(services), as("job-quote", 1)),
    consume(queue, checkpointScore, checkpointScoreHandler(services), as("checkpoint-score", 1)),
    consume(queue, evalRun, evalRunHandler(services), as("eval-run", 1)),
    consume(queue, adapterExport, adapterExportHandler(services), as("adapter-export", 1)),
    consume(queue, adapterTransfer, adapterTransferHandler(services), as("adapter-transfer", 2)),
  ];
  return {
    isRunning: () => consumers.every((consumer) => consumer.isRunning()),
    async stop() {
      await Promise.all([sweeping.stop(), ...consumers.map((consumer) => consumer.close())]);
    },
  };
}

/** Now, and again that long after the end of the last round: rounds never overlap. */
function every(ms: number, round: () => Promise<void>): { stop: () => Promise<void> } {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let running = Promise.resolve();
  const next = (): void => {
    running = round().then(() => {
      if (!stopped) timer = setTimeout(next, ms);
    });
  };
  next();
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
