import { type RunEnd, type RunOptions, TrainerProcess } from "./trainer-process.ts";

export type TrainersOptions = {
  python: string;
  most: number; // jobs that train at once, over one copy of the base
  processes: number; // that share the rows of each step: one for each GPU
};
type Waiting = { alone: boolean; admit: () => void };

/** A place among the jobs that train. */
export type Seat = { run: (options: RunOptions) => Promise<RunEnd>; leave: () => void };

/**
 * This worker's trainer. Jobs share one process, and so one base and one step, up to `most` of them; a job with a time budget
 * has the machine to itself, for its seconds would buy it less. Who comes first is served first.
 */
export class Trainers {
  readonly #options: TrainersOptions;
  #seated = 0;
  #seatedAlone = false;
  #waiting: Waiting[] = [];
  #process: TrainerProcess | null = null;

  constructor(options: TrainersOptions) {
    this.#options = options;
  }

  /** Null: the signal came before a place was free. */
  async enter(alone: boolean, signal: AbortSignal): Promise<Seat | null> {
    let giveUp = (): void => undefined;
    const admitted = new Promise<boolean>((resolve) => {
      const waiting: Waiting = { alone, admit: () => resolve(true) };
      giveUp = () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        resolve(false); // nothing, where it was admitted before
        this.#admit();
      };
      this.#waiting.push(waiting);
      this.#admit();
    });
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    const seated = await admitted.finally(() => signal.removeEventListener("abort", giveUp));
    return seated ? this.#seat() : null;
  }

  #seat(): Seat {
    let left = false;
    return {
      run: (options) => this.#run(options),
      leave: () => {
        if (left) return;
        left = true;
        this.#seated--;
        this.#admit();
      },
    };
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#seated++;
      this.#seatedAlone = next.alone;
      next.admit();
    }
  }

  #hasRoom(next: Waiting): boolean {
    if (this.#seated === 0) return true;
    return !next.alone && !this.#seatedAlone && this.#seated < this.#options.most;
  }

  async #run(options: RunOptions): Promise<RunEnd> {
    for (;;) {
      const shared = this.#process?.open ? this.#process : null;
      const process = shared ?? new TrainerProcess(this.#options, options.specFile);
      this.#process = process;
      const end = await process.run(options);
      const missed = shared !== null && !end.heard && end.exitCode === 0 && !options.signal.aborted;
      if (!missed) return end;
      // the process was about to end when the job joined: it gets one of its own
    }
  }
}
