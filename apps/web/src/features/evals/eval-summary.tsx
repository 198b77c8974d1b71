import type { EvalSummary, SideSummary } from "@grove/contracts/evals";
import { Card, CardHeader, Stat, StatGrid } from "@grove/ui/card";
import { ScoreBar } from "@grove/ui/progress";
import { Lift } from "@/features/adapters/lift";
import { count, duration, money, percent, plural } from "@/features/shared/format";
import { metricName } from "./metric-name";

type Measure = { label: string; hint: string; of: (side: SideSummary) => number | null };

function measuresOf(summary: EvalSummary): Measure[] {
  const all: Measure[] = [
    {
      label: `${metricName(summary.metric)}, free generation`,
      hint: "What a caller gets: the answer as written.",
      of: (side) => side.score,
    },
    {
      label: "Accuracy, forced choice",
      hint: "Which of the labels it finds most likely. High here and low above: it knows the answer and not the form.",
      of: (side) => side.forcedChoice,
    },
    { label: "Exact match", hint: "The same text, letter by letter.", of: (side) => side.exactMatch },
    { label: "ROUGE-L", hint: "Overlap of the longest common word sequence.", of: (side) => side.rougeL },
  ];
  const repeated = { accuracy: "", exact_match: "Exact match", rouge_l: "ROUGE-L" }[summary.metric];
  return all.filter((measure) => measure.of(summary.adapter) !== null && measure.label !== repeated);
}

export function EvalSummaryView({ summary, costMicroUsd }: { summary: EvalSummary; costMicroUsd: bigint }) {
  const { adapter, base } = summary;
  const tokens = adapter.promptTokens + adapter.completionTokens + base.promptTokens + base.completionTokens;
  const failed = adapter.failedRows + base.failedRows;
  return (
    <>
      <Card>
        <CardHeader
          title="Result"
          hint={
            summary.labels === null
              ? plural(summary.rows, "row")
              : `${plural(summary.rows, "row")}, ${plural(summary.labels.length, "label")}`
          }
        >
          <ul className="flex gap-4 text-[13px] text-muted">
            <li className="flex items-center gap-2">
              <span className="size-2 rounded-full bg-accent" aria-hidden /> Fine-tuned
            </li>
            <li className="flex items-center gap-2">
              <span className="size-2 rounded-full bg-faint" aria-hidden /> Base
            </li>
          </ul>
        </CardHeader>
        <ul className="divide-y divide-line">
          {measuresOf(summary).map((measure) => (
            <MeasureRow key={measure.label} measure={measure} summary={summary} />
          ))}
        </ul>
      </Card>
      <StatGrid>
        <Stat label="Time" value={duration(summary.seconds)} />
        <Stat label="Tokens, both sides" value={count(tokens)} />
        <Stat label="Cost" value={money(costMicroUsd)} />
        <Stat
          label="Rows without an answer"
          value={count(failed)}
          hint={failed === 0 ? "all were answered" : "counted as wrong"}
        />
      </StatGrid>
    </>
  );
}

function MeasureRow({ measure, summary }: { measure: Measure; summary: EvalSummary }) {
  const adapterScore = measure.of(summary.adapter) ?? 0;
  const baseScore = measure.of(summary.base) ?? 0;
  return (
    <li className="grid items-center gap-x-8 gap-y-3 px-5 py-4 md:grid-cols-[1fr_1.2fr_6rem]">
      <div>
        <p className="text-sm font-medium">{measure.label}</p>
        <p className="text-[13px] text-muted">{measure.hint}</p>
      </div>
      <div className="grid grid-cols-[1fr_3.5rem] items-center gap-x-3 gap-y-1.5 text-sm tabular-nums">
        <ScoreBar score={adapterScore} tone="accent" />
        <span className="text-right font-semibold">
          <span className="sr-only">Fine-tuned: </span>
          {percent(adapterScore)}
        </span>
        <ScoreBar score={baseScore} tone="base" />
        <span className="text-right text-muted">
          <span className="sr-only">Base: </span>
          {percent(baseScore)}
        </span>
      </div>
      <div className="text-sm md:text-right">
        <Lift result={{ adapterScore, baseScore }} />
      </div>
    </li>
  );
}
