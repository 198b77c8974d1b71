import type { ReactNode } from "react";

/** Scrolls sideways on its own where a screen is narrow. */
export function Table({ label, head, children }: { label: string; head: ReactNode; children: ReactNode }) {
  return (
    <div className="overflow-x-auto">
      <table aria-label={label} className="w-full border-collapse text-sm">
        <thead className="border-b border-line bg-sunken/60 text-left text-xs text-muted">
          <tr>{head}</tr>
        </thead>
        <tbody className="divide-y divide-line">{children}</tbody>
      </table>
    </div>
  );
}

export function Th({ children, align = "left" }: { children?: ReactNode; align?: "left" | "right" }) {
  return (
    <th
      scope="col"
      className={`px-5 py-2.5 font-medium whitespace-nowrap ${align === "right" ? "text-right" : "text-left"}`}
    >
      {children}
    </th>
  );
}

export function Tr({ children }: { children: ReactNode }) {
  return <tr className="relative transition-colors hover:bg-sunken/60">{children}</tr>;
}

export function Td({
  children,
  align = "left",
  tone = "ink",
}: {
  children?: ReactNode;
  align?: "left" | "right";
  tone?: "ink" | "muted";
}) {
  return (
    <td
      className={`px-5 py-3 whitespace-nowrap tabular-nums ${align === "right" ? "text-right" : "text-left"} ${tone === "muted" ? "text-muted" : "text-ink"}`}
    >
      {children}
    </td>
  );
}
