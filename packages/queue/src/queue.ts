import { setTimeout as sleep } from "node:timers/promises";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { type Contract, contracts } from "@grove/contracts/messages";
import { Queue } from "bullmq";
import type { z } from "zod";

export type QueueSettings = { redisUrl: string; prefix: string };
type Delivery = Pick<Contract<z.ZodType>, "queue" | "version" | "attempts" | "backoffMs">;

export interface Queues {
  /**
   * The row this message is about must be written first. `queue_unavailable` loses nothing: the worker's sweep sends again for rows left waiting.
   * A message with the same key that is still waiting or running is not doubled; one that failed for good is replaced.
   */
  send<P extends z.ZodType>(contract: Contract<P>, payload: z.input<P>): Promise<Result<null, "queue_unavailable">>;
  close(): Promise<void>;
}

const SEND_TIMEOUT_MS = 5_000;

/** Connects at the first send. */
export function createQueues(settings: QueueSettings): Queues {
  const open = new Map<string, Queue>();

  function queueOf(contract: Delivery): Queue {
    const before = open.get(contract.queue);
    if (before) return before;
    const queue = new Queue(contract.queue, { connection: { url: settings.redisUrl }, prefix: settings.prefix });
    queue.on("error", () => undefined); // ioredis reconnects by itself; a send in the meantime answers queue_unavailable
    open.set(contract.queue, queue);
    return queue;
  }

  return {
    async send(contract, payload) {
      const parsed = contract.payload.parse(payload);
      const key = contract.key(parsed);
      if (key.includes(":")) throw new Error(`A message key must not contain ":": ${key}`);
      const sending = add(queueOf(contract), contract, key, parsed).then(
        () => true,
        () => false,
      );
      const sent = await Promise.race([sending, sleep(SEND_TIMEOUT_MS, false, { ref: false })]);
      return sent
        ? ok(null)
        : fail(
            "queue_unavailable",
            "The message queue (Redis) does not answer. What you asked for is kept and starts when it is back.",
          );
    },
    async close() {
      await Promise.all([...open.values()].map((queue) => queue.close()));
    },
  };
}

async function add(queue: Queue, contract: Delivery, key: string, payload: unknown): Promise<void> {
  const before = await queue.getJob(key);
  if (before !== undefined && (await before.isFailed())) await before.remove();
  await queue.add(
    contract.queue,
    { version: contract.version, payload },
    {
      jobId: key,
      attempts: contract.attempts,
      backoff: { type: "exponential", delay: contract.backoffMs },
      removeOnComplete: true,
      removeOnFail: { age: 7 * 86_400, count: 1_000 },
    },
  );
}

/** Empties every queue of this prefix: for tests and for a reset of a development machine. */
export async function obliterate(settings: QueueSettings): Promise<void> {
  for (const contract of Object.values(contracts)) {
    const queue = new Queue(contract.queue, { connection: { url: settings.redisUrl }, prefix: settings.prefix });
    await queue.obliterate({ force: true });
    await queue.close();
  }
}
