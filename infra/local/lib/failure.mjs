/** A failure that a person can act on: what happened, and what to do about it. Printed without a stack trace. */
export class Failure extends Error {
  /**
   * @param {string} message what happened
   * @param {{ advice?: string, logFile?: string, tail?: string[], exitCode?: number }} [more]
   */
  constructor(message, more = {}) {
    super(message);
    this.name = "Failure";
    this.advice = more.advice ?? "";
    this.logFile = more.logFile ?? "";
    this.tail = more.tail ?? [];
    this.exitCode = more.exitCode ?? 1;
  }
}

/** Thrown where work stops because the person or another step asked for it; never reported as a fault of its own. */
export class Stopped extends Error {}

/**
 * Turns the errors that every file operation can meet into advice.
 * @param {unknown} error
 * @returns {Error}
 */
export function explain(error) {
  if (error instanceof Failure || error instanceof Stopped) return error;
  const code = errorCode(error);
  const message = error instanceof Error ? error.message : String(error);
  if (code === "ENOSPC") {
    return new Failure(`The disk is full (${message}).`, {
      advice: "Free some space and run the same command again; it goes on where it stopped.",
    });
  }
  if (code === "EACCES" || code === "EPERM") {
    return new Failure(`No permission (${message}).`, {
      advice: "Run as the user who owns this checkout and its data folder, or give it to yourself with chown -R.",
    });
  }
  if (code === "EROFS")
    return new Failure(`The file system is read-only (${message}).`, {
      advice: "Set GROVE_DATA to a writable folder.",
    });
  return error instanceof Error ? error : new Error(message);
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function errorCode(error) {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}
