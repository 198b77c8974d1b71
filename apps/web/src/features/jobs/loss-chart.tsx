"use client";
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

export function LossChart({ points }: { points: CurvePoint[] }) {
  return (
    <div className="h-72 w-full" role="img" aria-label="Loss by step, training and validation">
      <ResponsiveContainer width="100%" height="100%">
        <LineChart data={points} margin={margin}>
          <CartesianGrid stroke="var(--line)" vertical={false} />
          <XAxis dataKey="step" type="number" domain={["dataMin", "dataMax"]} allowDecimals={false} {...axis} />
          <YAxis
            width={44}
            domain={["auto", "auto"]}
            tickFormatter={(value: number) => value.toFixed(value < 1 ? 2 : 1)}
            {...axis}
          />
          <Tooltip
            contentStyle={tooltip}
            labelFormatter={(step) => `Step ${String(step)}`}
            formatter={(value) => (typeof value === "number" ? value.toFixed(4) : value)}
          />
          <Line
            name="Training"
            dataKey="loss"
            stroke="var(--accent)"
            strokeWidth={2}
            dot={false}
            isAnimationActive={false}
            connectNulls
          />
          <Line
            name="Validation"
            dataKey="validation"
            stroke="var(--chart-2)"
            strokeWidth={2}
            dot={{ r: 3, fill: "var(--chart-2)", strokeWidth: 0 }}
            isAnimationActive={false}
            connectNulls
          />
        </LineChart>
      </ResponsiveContainer>
    </div>
  );
}

export function LearningRateChart({ points }: { points: CurvePoint[] }) {
  return (
    <div className="h-28 w-full" role="img" aria-label="Learning rate by step">
      <ResponsiveContainer width="100%" height="100%">
        <LineChart data={points} margin={margin}>
          <XAxis dataKey="step" type="number" domain={["dataMin", "dataMax"]} hide />
          <YAxis width={44} tickFormatter={(value: number) => (value === 0 ? "0" : value.toExponential(0))} {...axis} />
          <Tooltip
            contentStyle={tooltip}
            labelFormatter={(step) => `Step ${String(step)}`}
            formatter={(value) => (typeof value === "number" ? value.toExponential(2) : value)}
          />
          <Line
            name="Learning rate"
            dataKey="learningRate"
            stroke="var(--muted)"
            strokeWidth={1.5}
            dot={false}
            isAnimationActive={false}
            connectNulls
          />
        </LineChart>
      </ResponsiveContainer>
    </div>
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

/** Answers of the checkpoints, scored from 0 to 1. */
export function ScoreChart({ points }: { points: { step: number; score: number }[] }) {
  return (
    <div className="h-40 w-full" role="img" aria-label="Score by step">
      <ResponsiveContainer width="100%" height="100%">
        <LineChart data={points} margin={margin}>
          <CartesianGrid stroke="var(--line)" vertical={false} />
          <XAxis dataKey="step" type="number" domain={["dataMin", "dataMax"]} allowDecimals={false} {...axis} />
          <YAxis width={44} domain={[0, 1]} tickFormatter={(value: number) => percent(value)} {...axis} />
          <Tooltip
            contentStyle={tooltip}
            labelFormatter={(step) => `Step ${String(step)}`}
            formatter={(value) => (typeof value === "number" ? percent(value) : value)}
          />
          <Line
            name="Score"
            dataKey="score"
            stroke="var(--accent)"
            strokeWidth={2}
            dot={{ r: 3, fill: "var(--accent)", strokeWidth: 0 }}
            isAnimationActive={false}
          />
        </LineChart>
      </ResponsiveContainer>
    </div>
  );
}
