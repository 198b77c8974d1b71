"use client";
import { MOST_SWEEP_JOBS, type SweepKnob, sweepKnobs, sweepSize } from "@grove/contracts/sweeps";
import { Card, CardHeader } from "@grove/ui/card";
import { Field, Input } from "@grove/ui/field";
import { ChevronRight } from "lucide-react";
import type { CheckedGrid, GridDraft } from "./grid-draft";
import { knobLabels } from "./knob-labels";

const examples: Record<SweepKnob, string> = {
  learningRate: "0.0002, 0.0005, 0.001",
  rank: "8, 16",
  epochs: "1, 3",
  batchSize: "8, 16",
  seed: "1, 2, 3",
};

type Props = { draft: GridDraft; checked: CheckedGrid; onChange: (draft: GridDraft) => void };

/** Several values of a hyperparameter: every combination becomes a run. */
export function GridFields({ draft, checked, onChange }: Props) {
  const runs = checked.ok && checked.grid !== null ? sweepSize(checked.grid) : null;
  const problems = checked.ok ? {} : checked.problems;
  return (
    <Card>
      <details className="group">
        <summary className="cursor-pointer list-none outline-none [&::-webkit-details-marker]:hidden">
          <CardHeader
            title="Sweep"
            hint={
              runs === null
                ? "Try several values at once: the runs share one copy of the base."
                : `${runs} runs, each an adapter version of its own.`
            }
          >
            <ChevronRight className="size-4 text-muted transition-transform group-open:rotate-90" aria-hidden />
          </CardHeader>
        </summary>
        <div className="flex flex-col gap-4 px-5 py-5">
          <div className="grid gap-x-5 gap-y-5 sm:grid-cols-2 xl:grid-cols-3">
            {sweepKnobs.map((knob) => (
              <Field key={knob} label={`${knobLabels[knob]} to try`} error={problems[knob] ?? null}>
                <Input
                  name={`sweep-${knob}`}
                  placeholder={examples[knob]}
                  value={draft[knob]}
                  onChange={(event) => onChange({ ...draft, [knob]: event.target.value })}
                />
              </Field>
            ))}
          </div>
          {problems[""] === undefined ? (
            <p className="text-[13px] text-muted">
              Separate values with commas; what stays empty is taken from above. At most {MOST_SWEEP_JOBS} runs.
            </p>
          ) : (
            <p role="alert" className="text-[13px] text-danger-text">
              {problems[""]}
            </p>
          )}
        </div>
      </details>
    </Card>
  );
}
