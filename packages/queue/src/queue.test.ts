import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fail, ok } from "@grove/contracts/errors";
import { datasetIngest } from "@grove/contracts/messages";
import { Queue } from "bullmq";
import { afterEach, expect, test } from "vitest";
import { type Consumer, consume, type Handler } from "./consume.ts";
import { createQueues, obliterate, type QueueSettings } from "./queue.ts";

const settings: QueueSettings = {
  redisUrl: process.env.REDIS_URL ?? "redis://127.0.0.1:4611",
  prefix: `test-queue-${randomUUID().slice(0, 8)}`,
};
const fast = { ...datasetIngest, backoffMs: 10 };
let consumer: Consumer | undefined;

afterEach(async () => {
  await consumer?.close();
  await obliterate(settings);
});

async function runUntilQuiet(
  handler: Handler<typeof datasetIngest.payload>,
  before: (queue: Queue) => Promise<void>,
): Promise<string[]> {
  const errors: string[] = [];
  const queue = new Queue(fast.queue, { connection: { url: settings.redisUrl }, prefix: settings.prefix });
  await before(queue);
  consumer = consume(settings, fast, handler, { concurrency: 1, onError: (error) => errors.push(error.message) });
  for (let i = 0; i < 100; i++) {
    await sleep(30);
    const counts = await queue.getJobCounts("waiting", "active", "delayed");
    if (i > 3 && counts.waiting === 0 && counts.active === 0 && counts.delayed === 0) break;
  }
  await queue.close();
  return errors;
}

async function sendOne(datasetId: string): Promise<void> {
  const queues = createQueues(settings);
  expect(await queues.send(fast, { datasetId })).toEqual(ok(null));
  expect(await queues.send(fast, { datasetId })).toEqual(ok(null)); // the same key: not doubled
  await queues.close();
}

test("a message is handled once, with its payload parsed", async () => {
  const datasetId = randomUUID();
  const seen: string[] = [];
  await runUntilQuiet(
    async (payload) => {
      seen.push(payload.datasetId);
      return ok(null);
    },
    () => sendOne(datasetId),
  );
  expect(seen).toEqual([datasetId]);
});

test("a failure that a retry cannot help is tried once, another as often as the contract says", async () => {
  let tries = 0;
  const final = await runUntilQuiet(
    async () => {
      tries++;
      return fail("dataset_empty", "No rows.");
    },
    () => sendOne(randomUUID()),
  );
  expect(tries).toBe(1);
  expect(final[0]).toContain("dataset_empty");
  await consumer?.close();

  const last: boolean[] = [];
  await runUntilQuiet(
    async (_payload, context) => {
      last.push(context.lastAttempt);
      throw new Error("network");
    },
    () => sendOne(randomUUID()),
  );
  expect(last).toEqual([false, false, true]);
});

test("a message that does not match its contract never reaches the handler", async () => {
  let handled = 0;
  const errors = await runUntilQuiet(
    async () => {
      handled++;
      return ok(null);
    },
    async (queue) => {
      await queue.add("x", { version: 1, payload: { datasetId: "../../etc" } }, { attempts: 3 });
      await queue.add("x", { version: 99, payload: { datasetId: randomUUID() } }, { attempts: 3 });
    },
  );
  expect(handled).toBe(0);
  expect(errors).toHaveLength(2);
  expect(errors[0]).toContain("Unreadable message");
});

test("a message that failed for good can be sent again", async () => {
  const datasetId = randomUUID();
  await runUntilQuiet(
    async () => fail("dataset_empty", "No rows."),
    () => sendOne(datasetId),
  );
  await consumer?.close();
  const seen: string[] = [];
  await runUntilQuiet(
    async (payload) => {
      seen.push(payload.datasetId);
      return ok(null);
    },
    () => sendOne(datasetId),
  );
  expect(seen).toEqual([datasetId]);
});

test("an unreachable Redis is queue_unavailable, not a hang", async () => {
  const queues = createQueues({ redisUrl: "redis://127.0.0.1:1", prefix: "x" });
  expect(await queues.send(fast, { datasetId: randomUUID() })).toMatchObject({ ok: false, code: "queue_unavailable" });
  void queues.close().catch(() => undefined);
}, 10_000);
