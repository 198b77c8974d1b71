import { errorTable, type Result } from "@grove/contracts/errors";
import type { Contract } from "@grove/contracts/messages";
import { type Job, UnrecoverableError, Worker } from "bullmq";
import { z } from "zod";
import type { QueueSettings } from "./queue.ts";

export type HandlerContext = {
  signal: AbortSignal; // aborted when this worker is told to stop
  lastAttempt: boolean; // nobody tries again after this one: settle the row
};
/** A failure whose code says `retry: false` is final; any other, and an exception, is tried again while attempts are left. */
export type Handler<P extends z.ZodType> = (payload: z.infer<P>, context: HandlerContext) => Promise<Result<unknown>>;
export type Consumer = { close(): Promise<void>; isRunning(): boolean };
export type ConsumeOptions = {
  concurrency: number;
  onError: (error: Error) => void;
  lockMs?: number; // how long a message of a lost worker stays unseen
};

const LOCK_MS = 30_000;

/** Parses before handling. The lock is renewed while the handler runs, so a handler may take hours as long as it does not block the event loop. */
export function consume<P extends z.ZodType>(
  settings: QueueSettings,
  contract: Contract<P>,
  handler: Handler<P>,
  options: ConsumeOptions,
): Consumer {
  const stop = new AbortController();
  const envelope = z.strictObject({ version: z.literal(contract.version), payload: z.unknown() });
  const lockMs = options.lockMs ?? LOCK_MS;

  function unreadable(error: z.ZodError): UnrecoverableError {
    return new UnrecoverableError(`Unreadable message in ${contract.queue}: ${z.prettifyError(error)}`);
  }

  async function handle(message: Job<unknown>): Promise<void> {
    const outer = envelope.safeParse(message.data);
    const inner = contract.payload.safeParse(outer.data?.payload);
    if (!outer.success) throw unreadable(outer.error);
    if (!inner.success) throw unreadable(inner.error);
    const lastAttempt = message.attemptsMade + 1 >= contract.attempts;
    const result = await handler(inner.data, { signal: stop.signal, lastAttempt });
    if (result.ok) return;
    const text = `${result.code}: ${result.message}`;
    throw errorTable[result.code].retry ? new Error(text) : new UnrecoverableError(text);
  }

  const worker = new Worker(contract.queue, handle, {
    connection: { url: settings.redisUrl, maxRetriesPerRequest: null },
    prefix: settings.prefix,
    concurrency: options.concurrency,
    lockDuration: lockMs,
    stalledInterval: lockMs,
    maxStalledCount: 10,
  });
  worker.on("error", options.onError);
  worker.on("failed", (_message, error) => options.onError(error));
  return {
    isRunning: () => worker.isRunning(),
    async close() {
      stop.abort();
      await worker.close();
    },
  };
}
