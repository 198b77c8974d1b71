import { cva, type VariantProps } from "class-variance-authority";
import type { ReactNode } from "react";

const badge = cva("inline-flex items-center gap-1.5 rounded-full px-2 py-0.5 text-xs font-medium whitespace-nowrap", {
  variants: {
    tone: {
      neutral: "bg-sunken text-muted ring-1 ring-line ring-inset",
      good: "bg-accent-soft text-accent-text",
      info: "bg-info-soft text-info",
      warn: "bg-warn-soft text-warn",
      bad: "bg-danger-soft text-danger-text",
    },
  },
  defaultVariants: { tone: "neutral" },
});
const dot = cva("size-1.5 rounded-full bg-current", { variants: { live: { true: "animate-pulse", false: "" } } });

export type Tone = NonNullable<VariantProps<typeof badge>["tone"]>;

export function Badge({ tone, children }: { tone: Tone; children: ReactNode }) {
  return <span className={badge({ tone })}>{children}</span>;
}

const statusTones: Record<string, Tone> = {
  profiling: "info",
  ready: "good",
  queued: "neutral",
  preparing: "info",
  training: "info",
  publishing: "info",
  running: "info",
  succeeded: "good",
  failed: "bad",
  cancelled: "warn",
  active: "good",
  revoked: "neutral",
};
const moving = new Set(["profiling", "preparing", "training", "publishing", "running"]);

/** A status of any stage, with the same colour everywhere. */
export function StatusBadge({ status }: { status: string }) {
  return (
    <span className={badge({ tone: statusTones[status] ?? "neutral" })} data-status={status}>
      <span className={dot({ live: moving.has(status) })} aria-hidden />
      {status.slice(0, 1).toUpperCase() + status.slice(1)}
    </span>
  );
}
