// `node packages/bench/src/summary.mjs` puts the figures of the committed result files into packages/bench/README.md.
import fs from "node:fs";
import path from "node:path";

const folder = path.join(import.meta.dirname, "..");
const [begin, end] = ["<!-- figures: begin -->", "<!-- figures: end -->"];
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const short = (value) => String(Number(value.toPrecision(3)));

/** Rows of one bench: what is measured, the figure, what is wanted. */
const readers = {
  training: rowsOf,
  serving: rowsOf,
  quote({ runs }) {
    const off = runs.map((run) => Math.abs(run.quoted_seconds / run.seconds - 1));
    const exact = runs.filter((run) => run.quoted_tokens === run.tokens).length;
    return [
      [
        "time quoted within 20 % of what was taken",
        `${off.filter((one) => one <= 0.2).length} of ${off.length} runs`,
        "9 of 10",
      ],
      [
        "the same run again, within 20 % of the first (the host's own scatter)",
        `${runs.filter((run) => Math.abs(run.seconds_again / run.seconds - 1) <= 0.2).length} of ${runs.length} runs`,
        "-",
      ],
      ["tokens quoted exactly", `${exact} of ${runs.length} runs`, "all"],
    ];
  },
  quality({ tasks, group }) {
    const done = Object.values(tasks).filter((task) =>
      ["base", "own-1", "own-2", "sft-1", "sft-2"].every((one) => task[one]?.scores),
    );
    const score = (...subjects) => short(mean(done.map((task) => mean(subjects.map((one) => mean(task[one].scores))))));
    const rows = [
      [
        `mean score of ${done.length} tasks, two seeds: ours, SFTTrainer's, base`,
        `${score("own-1", "own-2")}, ${score("sft-1", "sft-2")}, ${score("base")}`,
        "ours not below",
      ],
    ];
    if (group === undefined) return rows;
    const worst = Math.max(
      ...[...Object.values(group.first_gradient), ...Object.values(group.trained_gradient)].map(([one]) => one),
    );
    const [apart, threads] = [0, 1].map((one) => Math.max(...Object.values(group.weights).map((two) => two[one])));
    return [
      ...rows,
      ["eight tasks in one step: worst gradient against alone, fp32", worst.toExponential(1), "<= 1e-5"],
      [
        "the same, whole runs: worst final weights against alone, as a share of their way",
        apart.toExponential(1),
        `<= ${threads.toExponential(1)}, two threads against one`,
      ],
    ];
  },
  faults({ outcomes, wrong }) {
    const violations = outcomes.reduce((sum, one) => sum + one.wrong.length, wrong.length);
    const struck = outcomes.filter((one) => one.hit).length;
    return [["violations (lost jobs, double charges, other weights)", `${violations} in ${struck} faults`, "0 in 100"]];
  },
};

function rowsOf({ rows }) {
  return rows
    .filter((row) => row.wanted !== "-" && row.value !== null)
    .map(({ title, value, unit, wanted }) => [title, `${value} ${unit}`, wanted]);
}

const lines = ["| bench | figure | measured | wanted | taken |", "|---|---|---|---|---|"];
for (const [name, read] of Object.entries(readers)) {
  const file = path.join(folder, name, "result.json");
  const link = `[${name}](${name}/README.md)`;
  if (!fs.existsSync(file)) {
    lines.push(`| ${link} | not measured on a quiet machine yet | | | |`);
    continue;
  }
  const result = JSON.parse(fs.readFileSync(file, "utf8"));
  const date = (result.taken_at ?? result.date ?? "").slice(0, 10);
  const commit = result.machine?.commit ?? result.commit ?? result.group?.commit ?? "";
  for (const row of read(result))
    lines.push(`| ${[link, ...row, [date, commit].filter(Boolean).join(", ")].join(" | ")} |`);
}
const readme = path.join(folder, "README.md");
const [before, rest] = fs.readFileSync(readme, "utf8").split(begin);
fs.writeFileSync(readme, `${before}${begin}\n${lines.join("\n")}\n${end}${rest.split(end)[1]}`);
