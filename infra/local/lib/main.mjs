import { explain, Stopped } from "./failure.mjs";
import { describeFailure } from "./progress.mjs";

/**
 * Runs a command of ours: a failure is told in plain words, with its advice, and in the exit status.
 * @param {() => Promise<void>} body
 */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    // a person's Ctrl-C: the signal handler ends the process once everything has stopped
    if (error instanceof Stopped) return;
    const explained = explain(error);
    process.stderr.write(`${describeFailure(explained)}\n`);
    process.exitCode = "exitCode" in explained && typeof explained.exitCode === "number" ? explained.exitCode : 1;
  }
}
