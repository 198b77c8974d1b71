import { clock } from "./train.mjs";

/** @typedef {{ task: import("./tasks.mjs").Task, job: any, evaluation: any }} Outcome */

const METRICS = /** @type {Record<string, string>} */ ({
  accuracy: "accuracy",
  exact_match: "exact match",
  rouge_l: "ROUGE-L",
});

/**
 * Base against fine-tuned: one line a way of asking.
 * @param {Outcome[]} outcomes
 * @returns {string[]}
 */
export function resultTable(outcomes) {
  const head = ["task", "test rows", "how it answers", "base", "fine-tuned", "training", "cost"];
  const rows = outcomes.flatMap(linesOf);
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (/** @type {string[]} */ cells) =>
    `  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("   ")}`.trimEnd();
  return [line(head), line(widths.map((width) => "─".repeat(width))), ...rows.map(line)];
}

/** @param {Outcome} outcome */
function linesOf({ task, job, evaluation }) {
  const { summary } = evaluation;
  const cost = BigInt(job.result.costMicroUsd) + BigInt(evaluation.costMicroUsd);
  const first = [
    task.name,
    String(summary.rows),
    `freely (${METRICS[summary.metric] ?? summary.metric})`,
    score(summary.base.score),
    score(summary.adapter.score),
    clock(job.result.seconds),
    dollars(cost),
  ];
  if (summary.adapter.forcedChoice === null) {
    return [
      first,
      ["", "", "freely (exact match)", score(summary.base.exactMatch), score(summary.adapter.exactMatch), "", ""],
    ];
  }
  return [
    first,
    [
      "",
      "",
      "choosing among the labels",
      score(summary.base.forcedChoice),
      score(summary.adapter.forcedChoice),
      "",
      "",
    ],
  ];
}

/** @param {number} value */
function score(value) {
  return value.toFixed(3);
}

/** @param {bigint} microUsd */
export function dollars(microUsd) {
  return `$${(Number(microUsd) / 1e6).toFixed(4)}`;
}
