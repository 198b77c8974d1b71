import type { ReactNode } from "react";

export function Card({ children }: { children: ReactNode }) {
  return (
    <section className="min-w-0 overflow-hidden rounded-xl border border-line bg-surface shadow-xs">{children}</section>
  );
}

type CardHeaderProps = { title: string; hint?: string; children?: ReactNode };

/** Children stand at the right: a button, a switch, a count. */
export function CardHeader({ title, hint, children }: CardHeaderProps) {
  return (
    <header className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 border-b border-line px-5 py-3.5">
      <div className="min-w-0">
        <h2 className="text-sm font-semibold text-ink">{title}</h2>
        {hint === undefined ? null : <p className="mt-0.5 text-[13px] text-muted">{hint}</p>}
      </div>
      {children}
    </header>
  );
}

export function CardBody({ children }: { children: ReactNode }) {
  return <div className="p-5">{children}</div>;
}

/** Key figures in one row, hair lines between them. */
export function StatGrid({ children }: { children: ReactNode }) {
  return (
    <dl className="flex flex-wrap gap-px overflow-hidden rounded-xl border border-line bg-line shadow-xs">
      {children}
    </dl>
  );
}

export function Stat({ label, value, hint }: { label: string; value: ReactNode; hint?: ReactNode }) {
  return (
    <div className="min-w-0 flex-1 basis-36 bg-surface px-5 py-4">
      <dt className="text-[13px] text-muted">{label}</dt>
      <dd className="mt-1 truncate text-xl font-semibold tracking-tight text-ink tabular-nums">{value}</dd>
      {hint === undefined ? null : <dd className="mt-0.5 truncate text-xs text-faint">{hint}</dd>}
    </div>
  );
}

/** Name and value pairs of a detail page. */
export function Facts({ items }: { items: { label: string; value: ReactNode }[] }) {
  return (
    <dl className="divide-y divide-line text-sm">
      {items.map((item) => (
        <div key={item.label} className="flex items-baseline justify-between gap-6 px-5 py-2.5">
          <dt className="shrink-0 text-muted">{item.label}</dt>
          <dd className="min-w-0 truncate text-right text-ink tabular-nums">{item.value}</dd>
        </div>
      ))}
    </dl>
  );
}
