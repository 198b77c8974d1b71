import { nameOf } from "./plan.mjs";
import { difference } from "./weights.mjs";

// What a fault may do to a job, and what it must not.

/** Of the weights, between a job in a group and the same job alone: apps/trainer/tests/test_group.py holds the trainer to it. */
export const TOLERANCE = 1e-3;

/** @typedef {import("./books.mjs").Account} Account */
/** @typedef {{ sha256: string, tokens: string, cost: string, weights: Float32Array }} Reference a job's outcome without any fault */
/** @typedef {{ status: string, attempts: number, starts: number[], redone: number, same: boolean | null, apart: number | null, charges: number, error: string | null, wrong: string[] }} Verdict */

const allowed = {
  "disk full (jobs' folder)": ["trainer_disk_full", "storage_full"],
  "disk full (everything)": ["trainer_disk_full", "storage_full"],
};

/**
 * @param {{ fault: import("./plan.mjs").Fault, diverging: boolean, grouped: boolean, interval: number }} round
 * @param {Account} account
 * @param {Reference} reference
 * @param {(sha256: string) => Float32Array} weightsOf
 * @returns {Verdict}
 */
export function judge(round, account, reference, weightsOf) {
  const { row, versions, usage, starts, redone } = account;
  const version = versions[0];
  const verdict = {
    status: row.status,
    attempts: row.attempt,
    starts,
    redone,
    same: version ? version.sha256 === reference.sha256 : null,
    apart: version ? difference(weightsOf(version.sha256), reference.weights) : null,
    charges: usage.length,
    error: row.errorCode,
  };
  const wrong =
    row.status === "succeeded" ? wrongOfSuccess(round, account, reference, verdict) : wrongOfFailure(round, account);
  if (redone > round.interval)
    wrong.push(`${redone} steps were done again; a checkpoint is written every ${round.interval}`);
  return { ...verdict, wrong };
}

/**
 * @param {{ diverging: boolean, grouped: boolean }} round
 * @param {Account} account
 * @param {Reference} reference
 * @param {{ same: boolean | null, apart: number | null }} made
 */
function wrongOfSuccess({ diverging, grouped }, { versions, usage }, reference, { same, apart }) {
  const wrong = [];
  if (diverging) wrong.push("a job whose loss is no number has succeeded");
  if (versions.length !== 1) wrong.push(`${versions.length} adapter versions`);
  if (usage.length !== 1) wrong.push(`${usage.length} charges`);
  for (const { tokens, cost } of usage) {
    if (tokens !== reference.tokens) wrong.push(`${tokens} tokens charged, ${reference.tokens} without the fault`);
    if (cost !== reference.cost) wrong.push(`${cost} micro-dollars charged, ${reference.cost} without the fault`);
  }
  if (!grouped && same === false) wrong.push("another sha256 than without the fault");
  if (apart !== null && !(apart <= TOLERANCE)) wrong.push(`weights ${apart} apart`);
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
