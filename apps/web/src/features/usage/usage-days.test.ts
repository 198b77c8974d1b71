import type { UsageRow } from "@grove/contracts/usage";
import { expect, test } from "vitest";
import { chartData } from "./usage-days";

const row = (day: string, adapterId: string | null, micro: bigint, kind: UsageRow["kind"] = "inference"): UsageRow => ({
  day,
  kind,
  source: "api",
  adapterId,
  requests: 1,
  promptTokens: 1,
  completionTokens: 1,
  trainTokens: 0,
  trainSeconds: 0,
  costMicroUsd: micro,
});
const today = new Date("2026-11-22T10:00:00Z");

test("every day of the range has a bar, and days outside have none", () => {
  const { days, series } = chartData(
    [row("2026-11-22", "a/1", 2_000_000n), row("2026-11-22", null, 500_000n), row("2026-10-01", "a/1", 9n)],
    3,
    today,
  );
  expect(series).toEqual(["a/1", "Base model"]);
  expect(days).toEqual([
    { day: "2026-11-20", "a/1": 0, "Base model": 0 },
    { day: "2026-11-21", "a/1": 0, "Base model": 0 },
    { day: "2026-11-22", "a/1": 2, "Base model": 0.5 },
  ]);
});

test("beyond six adapters the small ones are added up", () => {
  const rows = Array.from({ length: 9 }, (_, index) =>
    row("2026-11-22", `a/${index + 1}`, BigInt(1_000_000 * (9 - index))),
  );
  const { days, series } = chartData(rows, 1, today);
  expect(series).toEqual(["a/1", "a/2", "a/3", "a/4", "a/5", "Others"]);
  expect(days[0]?.Others).toBe(4 + 3 + 2 + 1);
});
