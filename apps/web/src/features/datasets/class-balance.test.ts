import type { ColumnProfile } from "@grove/contracts/datasets";
import { expect, test } from "vitest";
import { balanceOf } from "./class-balance";

function column(counts: Record<string, number>, change: Partial<ColumnProfile> = {}): ColumnProfile {
  const topValues = Object.entries(counts).map(([value, count]) => ({ value, count }));
  const distinct = topValues.length;
  return { name: "label", type: "text", empty: 0, distinct, maxCharacters: 9, topValues, ...change };
}

test("an even column has its counts and no warning", () => {
  expect(balanceOf(column({ yes: 60, no: 40 }), 100)).toEqual({
    classes: [
      { value: "yes", count: 60 },
      { value: "no", count: 40 },
    ],
    hidden: { classes: 0, rows: 0 },
    rarest: [],
    answered: 100,
    warning: null,
  });
});

test("a class far below an even share is warned of, by its name and share of the answered rows", () => {
  const balance = balanceOf(column({ yes: 900, no: 100 }, { empty: 500 }), 1500);
  expect(balance?.warning).toContain("“no” stands in 100 rows of 1,000 (10.0%)");
  expect(balance?.warning).toContain("an even share of 2 classes is 50.0%");
  expect(balanceOf(column({ yes: 870, no: 130 }), 1000)?.warning).toBeNull();
});

test("a class of a few rows is warned of, whatever its share", () => {
  expect(balanceOf(column({ yes: 12, no: 9 }), 21)?.warning).toContain("9 rows");
});

test("of many classes the rarest speak, and the rest between is counted", () => {
  const counts = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`class ${i}`, 100]));
  const rarestValues = [
    { value: "last", count: 1 },
    { value: "rare", count: 20 },
  ];
  const balance = balanceOf(column(counts, { distinct: 25, rarestValues }), 2150);
  expect(balance?.hidden).toEqual({ classes: 3, rows: 129 });
  expect(balance?.rarest.map((one) => one.value)).toEqual(["rare", "last"]);
  expect(balance?.warning).toContain("“last” stands in 1 row");
  expect(balanceOf(column(counts, { distinct: 25 }), 2150)?.warning).toBeNull(); // profiled before the rarest were kept
});

test("a column of texts has no classes", () => {
  expect(balanceOf(column({}, { distinct: 90 }), 100)).toBeNull();
  expect(balanceOf(column({ only: 100 }), 100)).toBeNull();
});
