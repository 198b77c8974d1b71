import type { ColumnProfile } from "@grove/contracts/datasets";
import { count, percent, plural } from "../shared/format";

type Class = { value: string; count: number };
export type ClassBalance = {
  classes: Class[]; // the most frequent first
  hidden: { classes: number; rows: number }; // between those and the rarest ones
  rarest: Class[]; // the most frequent first; none where all classes are shown
  answered: number;
  warning: string | null;
};

const FEW_ROWS = 10;
const EVEN_SHARE = 0.25; // of what each class would have if all had the same

/** How often each label of a column occurs, over all rows; null for a column that holds no labels. */
export function balanceOf(column: ColumnProfile, rows: number): ClassBalance | null {
  const { topValues: classes, distinct, empty } = column;
  if (classes.length < 2) return null;
  const rarest = (column.rarestValues ?? []).toReversed();
  const answered = rows - empty;
  const shown = [...classes, ...rarest];
  const hidden = {
    classes: distinct - shown.length,
    rows: answered - shown.reduce((sum, one) => sum + one.count, 0),
  };
  const last = shown.length === distinct || rarest.length > 0 ? shown.at(-1) : undefined;
  return {
    classes,
    hidden,
    rarest,
    answered,
    warning: last === undefined ? null : warningOf(last, answered, distinct),
  };
}

function warningOf(rarest: Class, answered: number, classes: number): string | null {
  const share = rarest.count / Math.max(1, answered);
  const isRare = share < EVEN_SHARE / classes;
  if (!isRare && rarest.count >= FEW_ROWS) return null;
  const seen = `“${rarest.value}” stands in ${plural(rarest.count, "row")} of ${count(answered)} (${percent(share)})`;
  return `${seen}, where an even share of ${classes} classes is ${percent(1 / classes)}. A model learns to leave such a class out: add rows of it, and look at its answers in the evaluation and not at the accuracy alone.`;
}
