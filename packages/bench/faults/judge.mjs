import { nameOf } from "./plan.mjs";

// What a fault may do to a job, and what it must not.

/** @typedef {import("./books.mjs").Account} Account */
/** @typedef {{ sha256: string, tokens: string, cost: string }} Reference a job's outcome without any fault */
/** @typedef {{ status: string, attempts: number, starts: number[], redone: number, same: boolean | null, charges: number, error: string | null, wrong: string[] }} Verdict */

const allowed = {
  "disk full (jobs' folder)": ["trainer_disk_full", "storage_full"],
  "disk full (everything)": ["trainer_disk_full", "storage_full"],
};

/**
 * @param {{ fault: import("./plan.mjs").Fault, diverging: boolean, interval: number }} round
 * @param {Account} account
 * @param {Reference} reference
 * @returns {Verdict}
 */
export function judge(round, account, reference) {
  const { row, versions, usage, starts, redone } = account;
  const version = versions[0];
  const verdict = {
    status: row.status,
    attempts: row.attempt,
    starts,
    redone,
    same: version ? version.sha256 === reference.sha256 : null,
    charges: usage.length,
    error: row.errorCode,
  };
  const wrong =
    row.status === "succeeded"
      ? wrongOfSuccess(round, account, reference, verdict.same)
      : wrongOfFailure(round, account);
  if (redone > round.interval)
    wrong.push(`${redone} steps were done again; a checkpoint is written every ${round.interval}`);
  return { ...verdict, wrong };
}

/**
 * @param {{ diverging: boolean }} round
 * @param {Account} account
 * @param {Reference} reference
 * @param {boolean | null} same
 */
function wrongOfSuccess({ diverging }, { versions, usage }, reference, same) {
  const wrong = [];
  if (diverging) wrong.push("a job whose loss is no number has succeeded");
  if (versions.length !== 1) wrong.push(`${versions.length} adapter versions`);
  if (usage.length !== 1) wrong.push(`${usage.length} charges`);
  for (const { tokens, cost } of usage) {
    if (tokens !== reference.tokens) wrong.push(`${tokens} tokens charged, ${reference.tokens} without the fault`);
    if (cost !== reference.cost) wrong.push(`${cost} micro-dollars charged, ${reference.cost} without the fault`);
  }
  if (same === false) wrong.push("another sha256 than alone and without the fault");
  return wrong;
}

/**
 * @param {{ fault: import("./plan.mjs").Fault, diverging: boolean }} round
 * @param {Account} account
 */
function wrongOfFailure({ fault, diverging }, { row, versions, usage }) {
  const wrong = [];
  const codes = diverging
    ? ["trainer_diverged"]
    : (Object.entries(allowed).find(([name]) => name === nameOf(fault))?.[1] ?? []);
  if (row.status !== "failed") wrong.push(`the job is ${row.status}`);
  else if (!codes.includes(row.errorCode ?? "")) wrong.push(`the job failed: ${row.errorCode}: ${row.errorMessage}`);
  if ((row.errorMessage ?? "").length < 20) wrong.push("it failed without words");
  if (usage.length > 0) wrong.push(`${usage.length} charges for a job that failed`);
  if (versions.length > 0) wrong.push(`${versions.length} adapter versions of a job that failed`);
  return wrong;
}
