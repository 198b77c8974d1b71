import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { type TrainerEvent, trainerEvent } from "@grove/contracts/trainer";

export type ChildEnd = {
  exitCode: number | null;
  killedBy: string | null; // the signal, where one ended it
  last: TrainerEvent | null; // finished, cancelled or failed, where it said so
  badLine: string | null; // the first line that was no event; the child is stopped at once
};
export type ChildOptions = {
  python: string;
  specFile: string;
  logFile: string;
  signal: AbortSignal; // ask it to stop
  onStart: (pid: number) => Promise<void>;
  onEvent: (event: TrainerEvent) => void;
};

const KILL_AFTER_MS = 3_500; // a cancelled job is gone within 5 s, the second that it takes to be noticed included
const LAST_WORDS_MS = 1_000; // a process that it left behind may hold the pipes open for ever
const LONGEST_LINE = 1 << 20;
const LONGEST_LOG = 20 << 20;

/** Runs the trainer to its end. Its stdin is a pipe that closes with this process; so does the reading end of its events, on which it stops. */
export async function runTrainer(options: ChildOptions): Promise<ChildEnd> {
  const child = spawn(options.python, ["-m", "trainer", "run", "--spec", options.specFile], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const log = createWriteStream(options.logFile, { flags: "w" });
  const end: ChildEnd = { exitCode: null, killedBy: null, last: null, badLine: null };
  const closed = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, killedBy) => {
      end.exitCode = code;
      end.killedBy = killedBy;
      setTimeout(resolve, LAST_WORDS_MS).unref();
    });
    child.once("close", () => resolve());
  });
  closed.catch(() => undefined); // seen below, where it is awaited
  child.stdin.on("error", () => undefined); // it may be gone before we are
  log.on("error", () => undefined); // a full disk must not hide how the run ended
  let kill: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill("SIGTERM");
    kill = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
  };
  const readLine = (line: string): void => {
    if (end.badLine !== null || line.trim() === "") return;
    const event = parseEvent(line);
    if (event === null) {
      end.badLine = line.slice(0, 300);
      child.kill("SIGKILL");
      return;
    }
    if (event.event === "finished" || event.event === "cancelled" || event.event === "failed") end.last = event;
    options.onEvent(event);
  };
  child.stdout.setEncoding("utf8").on("data", lineSplitter(readLine));
  let logged = 0;
  child.stderr.on("data", (chunk: Buffer) => {
    logged += chunk.byteLength;
    if (logged <= LONGEST_LOG) log.write(chunk);
  });
  try {
    if (child.pid !== undefined) await options.onStart(child.pid);
    options.signal.addEventListener("abort", stop, { once: true });
    if (options.signal.aborted) stop();
    await closed;
    return end;
  } finally {
    options.signal.removeEventListener("abort", stop);
    clearTimeout(kill);
    child.stdout.destroy();
    child.stderr.destroy();
    child.kill("SIGKILL"); // only where something above threw; an ended child is not touched
    log.end();
    await finished(log).catch(() => undefined);
  }
}

function parseEvent(line: string): TrainerEvent | null {
  try {
    const parsed = trainerEvent.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** A line without an end is given up at a megabyte, as one that is no event. */
function lineSplitter(onLine: (line: string) => void): (text: string) => void {
  let carry = "";
  return (text) => {
    const lines = (carry + text).split("\n");
    carry = lines.pop() ?? "";
    for (const line of lines) onLine(line);
    if (carry.length > LONGEST_LINE) {
      onLine(carry);
      carry = "";
    }
  };
}
