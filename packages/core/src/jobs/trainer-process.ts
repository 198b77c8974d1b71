import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { type TrainerEvent, trainerGroupEvent, trainerGroupSpec } from "@grove/contracts/trainer";
import { lineSplitter } from "./line-splitter.ts";

export type RunOptions = {
  jobId: string;
  specFile: string; // a group of this one job
  logFile: string;
  signal: AbortSignal; // ask it to stop
  onStart: (trainer: { pid: number; specFile: string }) => Promise<void>;
  onPause: (hear: (paused: boolean) => void) => void; // who wants the job to stand still, or to go on
  onFinish: (hear: (step: number) => void) => () => void; // who ends the job with the checkpoint of a step; call what it returns to be told no more
  onEvent: (event: TrainerEvent) => void;
};
export type RunEnd = {
  exitCode: number | null;
  killedBy: string | null; // the signal, where one ended it
  last: TrainerEvent | null; // finished, cancelled or failed, where it said so
  badLine: string | null; // the first line that was no event; the process is stopped at once
  heard: boolean; // whether it said anything at all about this job
};

const KILL_AFTER_MS = 3_500; // a cancelled job is gone within 5 s, the second that it takes to be noticed included
const LAST_WORDS_MS = 1_000; // a process that it left behind may hold the pipes open for ever
const LOG_TAIL_MS = 100; // what was logged before a job's last event arrives by another pipe
const LONGEST_LOG = 20 << 20;

type Member = RunOptions & { log: WriteStream; logged: number; end: RunEnd; over: boolean; done: () => void };

/**
 * One `python -m trainer run`, which jobs join and leave while it runs. Its stdin is a pipe that closes with this process;
 * so does the reading end of its events, on which it stops.
 */
export class TrainerProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #specFile: string;
  readonly #members = new Map<string, Member>();
  readonly #closed: Promise<void>;
  #badLine: string | null = null;

  constructor({ python, processes }: { python: string; processes: number }, specFile: string) {
    this.#specFile = specFile;
    this.#child = spawn(python, [...launch(processes), "run", "--spec", specFile], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...threads(processes), ...process.env },
    });
    this.#closed = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("exit", () => setTimeout(resolve, LAST_WORDS_MS).unref());
      this.#child.once("close", () => resolve());
    });
    this.#closed.catch(() => undefined); // seen in `run`, where it is awaited
    this.#child.stdin.on("error", () => undefined); // it may be gone before we are
    this.#child.stdout.setEncoding("utf8").on(
      "data",
      lineSplitter((line) => this.#readLine(line)),
    );
    this.#child.stderr.setEncoding("utf8").on(
      "data",
      lineSplitter((line) => this.#readLog(line)),
    );
  }

  /** Whether a job may still join: the process ends by itself after its last one. */
  get open(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.#active().length > 0;
  }

  /** Runs one job to its end. All but the first join the others over stdin. */
  async run(options: RunOptions): Promise<RunEnd> {
    const log = createWriteStream(options.logFile, { flags: "w" });
    log.on("error", () => undefined); // a full disk must not hide how the run ended
    const end: RunEnd = { exitCode: null, killedBy: null, last: null, badLine: null, heard: false };
    const member: Member = { ...options, log, logged: 0, end, over: false, done: () => undefined };
    const over = new Promise<void>((resolve) => {
      member.done = resolve;
    });
    this.#members.set(options.jobId, member);
    const stop = (): void => this.#stop(member);
    let unhear = (): void => undefined;
    try {
      if (this.#child.pid !== undefined) await options.onStart({ pid: this.#child.pid, specFile: this.#specFile });
      if (options.specFile !== this.#specFile) await this.#join(options.specFile);
      options.onPause((paused) => this.#tell(paused ? { pause: options.jobId } : { resume: options.jobId }));
      unhear = options.onFinish((step) => this.#tell({ finish: options.jobId, step }));
      options.signal.addEventListener("abort", stop, { once: true });
      if (options.signal.aborted) stop();
      await Promise.race([over, this.#closed]);
      if (this.#active().length === 0) await this.#leaveTime();
      return { ...end, badLine: this.#badLine, exitCode: this.#child.exitCode, killedBy: this.#child.signalCode };
    } finally {
      options.onPause(() => undefined);
      unhear();
      options.signal.removeEventListener("abort", stop);
      this.#members.delete(options.jobId);
      if (this.#members.size === 0) this.#destroy();
      log.end();
      await finished(log).catch(() => undefined);
    }
  }

  #active(): Member[] {
    return [...this.#members.values()].filter((member) => !member.over);
  }

  async #join(specFile: string): Promise<void> {
    const group = trainerGroupSpec.parse(JSON.parse(await readFile(specFile, "utf8")));
    for (const spec of group.jobs) this.#tell({ join: spec });
  }

  #tell(command: Record<string, unknown>): void {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** The last one takes the process with it, which is heard between two layers; a command is between two rounds. */
  #stop(member: Member): void {
    const others = this.#active().some((other) => other !== member && !other.signal.aborted);
    if (others) this.#tell({ cancel: member.jobId });
    else this.#child.kill("SIGTERM");
    setTimeout(() => this.#over(member), KILL_AFTER_MS).unref();
  }

  #over(member: Member): void {
    member.over = true;
    member.done();
  }

  /** The process ends by itself once nobody is left; where it does not, it is ended. */
  async #leaveTime(): Promise<void> {
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), KILL_AFTER_MS);
    await this.#closed.finally(() => clearTimeout(kill));
  }

  #destroy(): void {
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
    this.#child.kill("SIGKILL"); // only where something threw; an ended process is not touched
  }

  #readLine(line: string): void {
    if (this.#badLine !== null || line.trim() === "") return;
    const said = parseLine(line);
    if (said === null) {
      this.#badLine = line.slice(0, 300);
      this.#child.kill("SIGKILL");
      return;
    }
    const member = this.#members.get(said.job_id);
    if (member === undefined || member.over) return; // one that has left
    const { event } = said;
    member.end.heard = true;
    if (event.event === "finished" || event.event === "cancelled" || event.event === "failed") {
      member.end.last = event;
      member.over = true;
      setTimeout(member.done, LOG_TAIL_MS);
    }
    member.onEvent(event);
  }

  /** Everybody's log, but for lines that name another job. */
  #readLog(line: string): void {
    const text = `${line}\n`;
    const named = [...this.#members.keys()].find((jobId) => line.includes(jobId));
    for (const member of this.#members.values()) {
      member.logged += text.length;
      if (member.logged <= LONGEST_LOG && (named === undefined || named === member.jobId)) member.log.write(text);
    }
  }
}

/** torchrun hands stdin and stdout on: the first process reads the one and writes to the other. */
function launch(processes: number): string[] {
  if (processes === 1) return ["-m", "trainer"];
  const here = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", String(processes)];
  return ["-m", "torch.distributed.run", ...here, "-m", "trainer"];
}

/** torchrun would give each process one thread. */
function threads(processes: number): Record<string, string> {
  return processes === 1
    ? {}
    : { OMP_NUM_THREADS: String(Math.max(1, Math.floor(availableParallelism() / processes))) };
}

function parseLine(line: string): { job_id: string; event: TrainerEvent } | null {
  try {
    const parsed = trainerGroupEvent.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
