import type { EvalSummary, Metric, SideSummary } from "@grove/contracts/evals";
import type { EvalRow } from "@grove/db";
import { sameAnswer } from "./metrics.ts";

/** One side of a stored row, whichever side it is. */
export type SideResult = {
  score: number;
  exact: boolean;
  rougeL: number;
  forced: string | null;
  error: string | null;
  promptTokens: number;
  completionTokens: number;
  seconds: number;
};

export function summarise(rows: EvalRow[], metric: Metric, labels: string[] | null, seconds: number): EvalSummary {
  const references = rows.map((row) => row.reference);
  return {
    metric,
    rows: rows.length,
    labels,
    adapter: summariseSide(rows.map(adapterSide), references, labels !== null),
    base: summariseSide(rows.map(baseSide), references, labels !== null),
    seconds,
  };
}

/** A row that failed counts as wrong: leaving it out would reward failing. */
function summariseSide(sides: SideResult[], references: string[], forced: boolean): SideSummary {
  return {
    score: mean(sides.map((side) => side.score)),
    exactMatch: mean(sides.map((side) => (side.exact ? 1 : 0))),
    rougeL: mean(sides.map((side) => side.rougeL)),
    forcedChoice: forced
      ? mean(sides.map((side, i) => (side.forced !== null && sameAnswer(side.forced, references[i] ?? "") ? 1 : 0)))
      : null,
    promptTokens: sum(sides.map((side) => side.promptTokens)),
    completionTokens: sum(sides.map((side) => side.completionTokens)),
    seconds: sum(sides.map((side) => side.seconds)),
    failedRows: sides.filter((side) => side.error !== null).length,
  };
}

function adapterSide(row: EvalRow): SideResult {
  return {
    score: row.adapterScore,
    exact: row.adapterExact,
    rougeL: row.adapterRougeL,
    forced: row.adapterForced,
    error: row.adapterError,
    promptTokens: row.adapterPromptTokens,
    completionTokens: row.adapterCompletionTokens,
    seconds: row.adapterSeconds,
  };
}

function baseSide(row: EvalRow): SideResult {
  return {
    score: row.baseScore,
    exact: row.baseExact,
    rougeL: row.baseRougeL,
    forced: row.baseForced,
    error: row.baseError,
    promptTokens: row.basePromptTokens,
    completionTokens: row.baseCompletionTokens,
    seconds: row.baseSeconds,
  };
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: number[]): number {
  return values.length === 0 ? 0 : sum(values) / values.length;
}
