import type { TrainerEvent } from "@grove/contracts/trainer";
import type { PrismaClient } from "@grove/db";
import { activeStatuses, type Tx } from "./status.ts";

const FLUSH_MS = 250;

/** Stores events in order and the progress they tell of, a few times a second, and only while this attempt is the current one. */
export class EventLog {
  readonly #db: PrismaClient;
  readonly #jobId: string;
  readonly #attempt: number;
  readonly #onLost: () => void;
  readonly #waiting: TrainerEvent[] = [];
  #flushing: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(db: PrismaClient, job: { jobId: string; attempt: number }, onLost: () => void) {
    this.#db = db;
    this.#jobId = job.jobId;
    this.#attempt = job.attempt;
    this.#onLost = onLost;
  }

  add(event: TrainerEvent): void {
    this.#waiting.push(event);
    this.#schedule();
  }

  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const written = this.#flushing.then(() => this.#write());
    this.#flushing = written.catch(() => undefined);
    await written;
  }

  /** Where the database is away for a moment, the events wait for the next round. */
  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.flush().catch(() => this.#schedule()), FLUSH_MS);
  }

  /** Events wait in line until they are stored: after a write that failed, later ones must not come first. */
  async #write(): Promise<void> {
    const events = [...this.#waiting];
    if (events.length === 0) return;
    const kept = await this.#db.$transaction(async (tx) => {
      const { count } = await tx.job.updateMany({
        where: { id: this.#jobId, attempt: this.#attempt, status: { in: [...activeStatuses] } },
        data: { ...progressOf(events), heartbeatAt: new Date() },
      });
      if (count === 0) return false;
      await appendEvents(tx, this.#jobId, this.#attempt, events);
      return true;
    });
    this.#waiting.splice(0, events.length);
    if (!kept) this.#onLost();
  }
}

/** Call it in a transaction that has changed the job's row: that row's lock makes `seq` safe. */
export async function appendEvents(tx: Tx, jobId: string, attempt: number, events: TrainerEvent[]): Promise<void> {
  const { _max } = await tx.jobEvent.aggregate({ where: { jobId }, _max: { seq: true } });
  const first = (_max.seq ?? 0) + 1;
  await tx.jobEvent.createMany({ data: events.map((event, i) => ({ jobId, seq: first + i, attempt, event })) });
}

function progressOf(events: TrainerEvent[]): { step?: number; totalSteps?: number; secondsLeft?: number } {
  const last = events.findLast((event) => event.event === "step" || event.event === "started");
  if (last?.event === "step") return { step: last.step, totalSteps: last.total_steps, secondsLeft: last.seconds_left };
  return last?.event === "started" ? { step: last.resumed_from_step, totalSteps: last.total_steps } : {};
}
