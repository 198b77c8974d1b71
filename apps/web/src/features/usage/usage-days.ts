import type { UsageRow } from "@grove/contracts/usage";

export type DayBar = { day: string; [series: string]: number | string };
export type UsageChartData = { days: DayBar[]; series: string[] };

const mostSeries = 6;
const rest = "Others";

export function seriesOf(row: Pick<UsageRow, "kind" | "adapterId">): string {
  return row.adapterId ?? (row.kind === "training" ? "Training" : "Base model");
}

/** Dollars by day and adapter, every day of the range in it; beyond six adapters the smaller ones are one series. */
export function chartData(rows: readonly UsageRow[], days: number, today: Date): UsageChartData {
  const totals = new Map<string, bigint>();
  for (const row of rows) totals.set(seriesOf(row), (totals.get(seriesOf(row)) ?? 0n) + row.costMicroUsd);
  const ranked = [...totals.entries()].sort((a, b) => (b[1] > a[1] ? 1 : -1)).map(([name]) => name);
  const kept = ranked.length <= mostSeries ? ranked : ranked.slice(0, mostSeries - 1);
  const series = ranked.length <= mostSeries ? kept : [...kept, rest];

  const bars = new Map<string, DayBar>();
  for (let back = days - 1; back >= 0; back--) {
    const day = new Date(today.getTime() - back * 86_400_000).toISOString().slice(0, 10);
    bars.set(day, { day, ...Object.fromEntries(series.map((name) => [name, 0])) });
  }
  for (const row of rows) {
    const bar = bars.get(row.day);
    if (bar === undefined) continue;
    const name = kept.includes(seriesOf(row)) ? seriesOf(row) : rest;
    bar[name] = Number(bar[name] ?? 0) + Number(row.costMicroUsd) / 1_000_000;
  }
  return { days: [...bars.values()], series };
}
