import { expect, test } from "vitest";
import { ago, bytes, duration, money, percent, points, tokens } from "./format";

test("money shows the digits that matter and never rounds a price away", () => {
  expect([0n, 42n, 31_200n, 500_000n, 12_400_000n, 1_234_567_890n].map(money)).toEqual([
    "$0.00",
    "$0.000042",
    "$0.0312",
    "$0.50",
    "$12.40",
    "$1,234.56",
  ]);
});

test("sizes, times and shares read as people say them", () => {
  expect([0, 999, 1_500, 6_900_000, 1_200_000_000].map(bytes)).toEqual(["0 B", "999 B", "1.5 KB", "6.9 MB", "1.2 GB"]);
  expect([0.2, 4.25, 59, 61, 3_700].map(duration)).toEqual(["200 ms", "4.3 s", "59 s", "1 min 1 s", "1 h 1 min"]);
  expect([0, 0.7312, 1].map(percent)).toEqual(["0%", "73.1%", "100%"]);
  expect([0.412, -0.03, 0, -0.0001].map(points)).toEqual(["+41.2 pts", "−3.0 pts", "±0 pts", "±0 pts"]);
  expect([12_345, 1_234_567].map(tokens)).toEqual(["12,345", "1.2M"]);
});

test("a time says how long ago it was, and old ones their date", () => {
  const now = Date.UTC(2026, 10, 22, 12);
  expect(ago(new Date(now - 10_000), now)).toBe("just now");
  expect(ago(new Date(now - 120_000), now)).toBe("2 min ago");
  expect(ago(new Date(now - 86_400_000), now)).toBe("1 day ago");
  expect(ago(new Date(now - 30 * 86_400_000), now)).toBe("23 Oct 2026");
});
