import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

// What Postgres and Redis hold, read past the product: the bench does not ask the code it judges.

const MOST_TRIES = 60;
const packages = path.resolve(import.meta.dirname, "../..");
const { Pool } = createRequire(path.join(packages, "db/package.json"))("pg");
const { Redis } = createRequire(path.join(packages, "queue/package.json"))("ioredis");

/**
 * @typedef {{ id: string, status: string, attempt: number, step: number, totalSteps: number, errorCode: string | null, errorMessage: string | null }} JobRow
 * @typedef {{ sha256: string, version: number }} VersionRow
 * @typedef {{ tokens: string, cost: string }} UsageRow
 * @typedef {{ row: JobRow, versions: VersionRow[], usage: UsageRow[], starts: number[], redone: number }} Account everything that is written down about a job
 */

const jobColumns = `id, status, attempt, step, total_steps AS "totalSteps", error_code AS "errorCode", error_message AS "errorMessage"`;

/** @param {{ DATABASE_URL: string, REDIS_URL: string }} env */
export function openBooks(env) {
  const pool = new Pool({ connectionString: env.DATABASE_URL, max: 3 });
  pool.on("error", () => undefined); // the database may be struck at any time; the next query connects again
  const redis = new Redis(env.REDIS_URL, { lazyConnect: false, maxRetriesPerRequest: null });
  redis.on("error", () => undefined);

  /**
   * @param {string} text
   * @param {unknown[]} [values]
   * @returns {Promise<any[]>}
   */
  const rows = async (text, values = []) => {
    for (let tried = 1; ; tried++) {
      try {
        return (await pool.query(text, values)).rows;
      } catch (error) {
        if (tried === MOST_TRIES) throw error; // a connection from before the strike, or a server that recovers
        await sleep(500);
      }
    }
  };

  /** @param {string[]} ids @returns {Promise<JobRow[]>} */
  const jobs = (ids) => rows(`SELECT ${jobColumns} FROM jobs WHERE id = ANY($1::uuid[]) ORDER BY id`, [ids]);

  /** @param {string} id @returns {Promise<Account>} */
  async function account(id) {
    const [row] = await jobs([id]);
    if (row === undefined) throw new Error(`There is no row of the job ${id}.`);
    const versions = await rows("SELECT sha256, version FROM adapter_versions WHERE job_id = $1", [id]);
    const usage = await rows(
      `SELECT train_tokens::text AS tokens, cost_micro_usd::text AS cost FROM usage_events WHERE job_id = $1`,
      [id],
    );
    const events = await rows(
      `SELECT event FROM job_events WHERE job_id = $1 AND event->>'event' IN ('started', 'step') ORDER BY seq`,
      [id],
    );
    return { row, versions, usage, ...progressOf(events.map(({ event }) => event)) };
  }

  return {
    jobs,
    account,
    /** All that was charged, and what is not at rest. */
    async ledger() {
      const [total] = await rows(
        `SELECT count(*)::int AS rows, coalesce(sum(cost_micro_usd), 0)::text AS cost FROM usage_events`,
      );
      const [state] = await rows(`SELECT count(*) FILTER (WHERE status = 'succeeded')::int AS succeeded,
        count(*) FILTER (WHERE status NOT IN ('succeeded', 'failed', 'cancelled'))::int AS unfinished FROM jobs`);
      const [made] = await rows(
        "SELECT count(*)::int AS versions, coalesce(max(version), 0)::int AS last FROM adapter_versions",
      );
      return { ...total, ...state, ...made };
    },
    /** Messages by state, over all queues. */
    async queues() {
      const counts = { waiting: 0, active: 0, delayed: 0, failed: 0 };
      for (const meta of await redis.keys("grove:*:meta")) {
        const queue = meta.slice(0, -":meta".length);
        counts.waiting += (await redis.llen(`${queue}:wait`)) + (await redis.zcard(`${queue}:prioritized`));
        counts.active += await redis.llen(`${queue}:active`);
        counts.delayed += await redis.zcard(`${queue}:delayed`);
        counts.failed += await redis.zcard(`${queue}:failed`);
      }
      return counts;
    },
    async close() {
      redis.disconnect();
      await pool.end();
    },
  };
}

/** @typedef {ReturnType<typeof openBooks>} Books */

/**
 * Where each attempt took up the training, and the most steps that one of them had to do again.
 * @param {{ event: string, step?: number, resumed_from_step?: number }[]} events
 */
function progressOf(events) {
  const starts = [];
  let seen = 0;
  let redone = 0;
  for (const event of events) {
    if (event.event === "step") seen = Math.max(seen, event.step ?? 0);
    else {
      const from = event.resumed_from_step ?? 0;
      redone = Math.max(redone, seen - from);
      starts.push(from);
    }
  }
  return { starts, redone };
}
