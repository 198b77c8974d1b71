import fs from "node:fs";
import { nameOf } from "./plan.mjs";

/** @typedef {import("./round.mjs").Outcome} Outcome */

/**
 * @param {Outcome} outcome
 * @param {number} struck so far
 */
export function tellRound(outcome, struck) {
  const jobs = outcome.jobs.map((job) => {
    const ended = job.status === "succeeded" ? (job.same ? "same sha" : "other sha") : job.error;
    return `${ended}, attempt ${job.attempts}, from ${job.starts.join("/")}, ${job.charges} charged`;
  });
  const sign = outcome.wrong.length > 0 ? "✗" : outcome.hit ? "✓" : "·";
  const what = `${nameOf(outcome.fault)} while ${outcome.hit ? outcome.state : `${outcome.state} (missed)`}`;
  const lines = [
    `${sign} ${struck} (round ${outcome.round}) ${what}, ${outcome.work}, ${outcome.seconds.toFixed(1)} s: ${jobs.join(" | ")}`,
  ];
  if (outcome.again.length > 0)
    lines.push(
      `    again: ${outcome.again.map((job) => `${job.status}, ${job.same ? "same sha" : "other sha"}`).join(" | ")}`,
    );
  for (const text of outcome.wrong) lines.push(`    ✗ ${text}`);
  return lines.join("\n");
}

const head = [
  "fault",
  "struck",
  "while",
  "jobs",
  "succeeded",
  "failed as promised",
  "resumed",
  "alone: same sha",
  "grouped: same sha",
  "charges",
  "wrong",
];

/**
 * One row a kind of fault, in Markdown. Only rounds in which there was something to strike.
 * @param {Outcome[]} outcomes
 */
export function tableOf(outcomes) {
  const hit = outcomes.filter((one) => one.hit);
  const kinds = [...new Set(hit.map((one) => nameOf(one.fault)))].sort();
  const rows = kinds.map((kind) =>
    rowOf(
      kind,
      hit.filter((one) => nameOf(one.fault) === kind),
    ),
  );
  const lines = [head, head.map(() => "---"), ...rows, rowOf("all", hit)];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/**
 * @param {string} kind
 * @param {Outcome[]} outcomes
 */
function rowOf(kind, outcomes) {
  const jobs = outcomes.flatMap((one) => one.jobs);
  const done = jobs.filter((job) => job.status === "succeeded");
  const again = outcomes.flatMap((one) => one.again);
  const alone = [...outcomes.filter((one) => one.jobs.length === 1).flatMap((one) => one.jobs), ...again].filter(
    (job) => job.same !== null,
  );
  const grouped = outcomes
    .filter((one) => one.jobs.length > 1)
    .flatMap((one) => one.jobs)
    .filter((job) => job.same !== null);
  const resumed = jobs.filter((job) => job.starts.some((from) => from > 0));
  const failed = jobs.filter((job) => job.status === "failed" && job.wrong.length === 0).length;
  const every = [...jobs, ...again];
  return [
    kind,
    outcomes.length,
    kind === "all" ? "" : statesOf(outcomes),
    jobs.length,
    done.length,
    failed,
    resumed.length,
    alone.length === 0 ? "–" : `${alone.filter((job) => job.same).length} of ${alone.length}`,
    grouped.length === 0 ? "–" : `${grouped.filter((job) => job.same).length} of ${grouped.length}`,
    `${every.reduce((sum, job) => sum + job.charges, 0)} for ${every.filter((job) => job.status === "succeeded").length}`,
    outcomes.reduce((sum, one) => sum + one.wrong.length, 0),
  ].map(String);
}

const [begin, end] = ["<!-- figures: begin -->", "<!-- figures: end -->"];

/**
 * @param {string} readme
 * @param {import("./record.mjs").Record} record
 */
export function writeReadme(readme, record) {
  const { machine, commit, date, seed, seconds, outcomes, wrong } = record;
  const struck = outcomes.filter((one) => one.hit).length;
  const violations = outcomes.reduce((sum, one) => sum + one.wrong.length, wrong.length);
  const told =
    `${machine.cpu}, ${machine.cores} cores, commit ${commit}, ${date}, seed ${seed}: ${struck} faults struck in ` +
    `${outcomes.length} rounds (${Math.round(seconds / 60)} min), ${violations} violations.`;
  const text = fs.readFileSync(readme, "utf8");
  const [before = "", rest = ""] = text.split(begin);
  const after = rest.split(end)[1] ?? "";
  fs.writeFileSync(readme, `${before}${begin}\n${told}\n\n${tableOf(outcomes)}\n${end}${after}`);
}

/** @param {Outcome[]} outcomes */
function statesOf(outcomes) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of outcomes) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${state} ${count}`).join(", ");
}
