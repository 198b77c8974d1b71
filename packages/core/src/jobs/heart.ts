import type { PrismaClient } from "@grove/db";
import { activeStatuses } from "./status.ts";

/** Why a run must stop: its user cancelled it, this worker was told to stop, or another attempt has taken over. */
export type StopReason = "cancelled" | "stopped" | "lost";

const BEAT_MS = 1_000;

class JobStopped extends Error {}

/** Beats while a job runs: tells the database that the worker lives, and hears from it whether the job is still wanted. */
export class Heart {
  readonly #abort = new AbortController();
  readonly #db: PrismaClient;
  readonly #job: { jobId: string; attempt: number };
  readonly #outer: AbortSignal;
  readonly #onOuter = (): void => this.abort("stopped");
  #reason: StopReason | null = null;
  #paused = false;
  #onPause: (paused: boolean) => void = () => undefined;
  #timer: NodeJS.Timeout;
  #beating: Promise<void> = Promise.resolve();

  constructor(db: PrismaClient, job: { jobId: string; attempt: number }, outer: AbortSignal) {
    this.#db = db;
    this.#job = job;
    this.#outer = outer;
    outer.addEventListener("abort", this.#onOuter, { once: true });
    if (outer.aborted) this.abort("stopped");
    this.#timer = setInterval(() => {
      this.#beating = this.#beating.then(() => this.#beat());
    }, BEAT_MS);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get reason(): StopReason | null {
    return this.#reason;
  }

  /** From now on, `hear` is told when the job is paused and when it is to go on. */
  onPause(hear: (paused: boolean) => void): void {
    this.#onPause = hear;
    if (this.#paused) hear(true);
  }

  abort(reason: StopReason): void {
    this.#reason ??= reason;
    this.#abort.abort();
  }

  /** Throws where the job is not to go on; `reason` says why. */
  check(): void {
    if (this.#reason !== null) throw new JobStopped(this.#reason);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#outer.removeEventListener("abort", this.#onOuter);
    await this.#beating;
  }

  async #beat(): Promise<void> {
    try {
      const [row] = await this.#db.job.updateManyAndReturn({
        where: { id: this.#job.jobId, attempt: this.#job.attempt, status: { in: [...activeStatuses] } },
        data: { heartbeatAt: new Date() },
        select: { cancelRequestedAt: true, paused: true },
      });
      if (row === undefined) this.abort("lost");
      else if (row.cancelRequestedAt !== null) this.abort("cancelled");
      else if (row.paused !== this.#paused) {
        this.#paused = row.paused;
        this.#onPause(row.paused);
      }
    } catch {
      // the database is away: the next beat tells, and the sweep of another worker if it stays away
    }
  }
}
