"use client";
import type { ReactNode } from "react";
import { CartesianGrid, Line, LineChart, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import { percent } from "@/features/shared/format";
import type { CurvePoint } from "./training-curve";

const axis = { stroke: "var(--faint)", fontSize: 12, tickLine: false, axisLine: false } as const;
const tooltip = {
  background: "var(--surface)",
  border: "1px solid var(--line-strong)",
  borderRadius: 8,
  fontSize: 13,
  color: "var(--ink)",
};
const margin = { top: 8, right: 12, bottom: 0, left: 0 };

type StepChartProps = {
  label: string;
  height: string;
  points: { step: number }[];
  range: [number, number] | ["auto", "auto"];
  tick: (value: number) => string;
  exact: (value: number) => string; // in the tooltip
  isBare?: boolean; // neither grid nor steps, under a chart that has them
  children: ReactNode;
};

/** Lines over the steps of a run. */
function StepChart({ label, height, points, range, tick, exact, isBare = false, children }: StepChartProps) {
  return (
    <div className={`${height} w-full`} role="img" aria-label={label}>
      <ResponsiveContainer width="100%" height="100%">
        <LineChart data={points} margin={margin}>
          {isBare ? null : <CartesianGrid stroke="var(--line)" vertical={false} />}
          <XAxis
            dataKey="step"
            type="number"
            domain={["dataMin", "dataMax"]}
            allowDecimals={false}
            hide={isBare}
            {...axis}
          />
          <YAxis width={44} domain={range} tickFormatter={tick} {...axis} />
          <Tooltip
            contentStyle={tooltip}
            labelFormatter={(step) => `Step ${String(step)}`}
            formatter={(value) => (typeof value === "number" ? exact(value) : value)}
          />
          {children}
        </LineChart>
      </ResponsiveContainer>
    </div>
  );
}

const line = { strokeWidth: 2, dot: false, isAnimationActive: false, connectNulls: true } as const;

function dotOf(fill: string) {
  return { r: 3, fill, strokeWidth: 0 };
}

export function LossChart({ points }: { points: CurvePoint[] }) {
  return (
    <StepChart
      label="Loss by step, training and validation"
      height="h-72"
      points={points}
      range={["auto", "auto"]}
      tick={(value) => value.toFixed(value < 1 ? 2 : 1)}
      exact={(value) => value.toFixed(4)}
    >
      <Line {...line} name="Training" dataKey="loss" stroke="var(--accent)" />
      <Line {...line} name="Validation" dataKey="validation" stroke="var(--chart-2)" dot={dotOf("var(--chart-2)")} />
    </StepChart>
  );
}

export function LearningRateChart({ points }: { points: CurvePoint[] }) {
  return (
    <StepChart
      label="Learning rate by step"
      height="h-28"
      points={points}
      range={["auto", "auto"]}
      tick={(value) => (value === 0 ? "0" : value.toExponential(0))}
      exact={(value) => value.toExponential(2)}
      isBare
    >
      <Line {...line} name="Learning rate" dataKey="learningRate" stroke="var(--muted)" strokeWidth={1.5} />
    </StepChart>
  );
}

/** Answers of the checkpoints, scored from 0 to 1. */
export function ScoreChart({ points }: { points: { step: number; score: number }[] }) {
  return (
    <StepChart
      label="Score by step"
      height="h-40"
      points={points}
      range={[0, 1]}
      tick={(value) => percent(value)}
      exact={(value) => percent(value)}
    >
      <Line {...line} name="Score" dataKey="score" stroke="var(--accent)" dot={dotOf("var(--accent)")} />
    </StepChart>
  );
}

export function ChartLegend({ hasValidation }: { hasValidation: boolean }) {
  return (
    <ul className="flex gap-4 text-[13px] text-muted">
      <li className="flex items-center gap-2">
        <span className="h-0.5 w-4 rounded bg-accent" aria-hidden /> Training
      </li>
      {hasValidation ? (
        <li className="flex items-center gap-2">
          <span className="h-0.5 w-4 rounded bg-chart-2" aria-hidden /> Validation
        </li>
      ) : null}
    </ul>
  );
}
