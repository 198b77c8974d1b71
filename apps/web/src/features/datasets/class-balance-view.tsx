import { Notice } from "@grove/ui/states";
import { count, percent, plural } from "@/features/shared/format";
import type { ClassBalance } from "./class-balance";

/** A bar for each class, as wide as its share of the most frequent one. */
export function ClassBalanceView({ balance }: { balance: ClassBalance }) {
  const { classes, hidden, rarest, answered, warning } = balance;
  const most = classes[0]?.count ?? 1;
  const bar = (one: ClassBalance["classes"][number]) => (
    <ClassBar key={one.value} value={one.value} rows={one.count} answered={answered} most={most} />
  );
  return (
    <div className="flex flex-col gap-4">
      {warning === null ? null : <Notice tone="warn" title={warning} />}
      <ul className="flex flex-col gap-1.5" aria-label="Rows of each class">
        {classes.map(bar)}
        {hidden.classes > 0 ? (
          <li className="py-1 text-[13px] text-muted">
            {plural(hidden.classes, "class", "classes")} between, {plural(hidden.rows, "row")}
          </li>
        ) : null}
        {rarest.map(bar)}
      </ul>
    </div>
  );
}

type ClassBarProps = { value: string; rows: number; answered: number; most: number };

function ClassBar({ value, rows, answered, most }: ClassBarProps) {
  return (
    <li className="grid grid-cols-[minmax(0,8rem)_minmax(0,1fr)_6.5rem] items-center gap-3 text-[13px]">
      <span className="truncate" title={value}>
        {value}
      </span>
      <span className="h-2 overflow-hidden rounded-full bg-sunken" aria-hidden>
        <span className="block h-full rounded-full bg-accent" style={{ width: `${(100 * rows) / most}%` }} />
      </span>
      <span className="text-right tabular-nums">
        {count(rows)} <span className="text-faint">{percent(rows / Math.max(1, answered))}</span>
      </span>
    </li>
  );
}
