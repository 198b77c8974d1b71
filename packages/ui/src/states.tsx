import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { Button } from "./button.tsx";

export function Skeleton({ shape }: { shape: "line" | "title" | "row" | "block" }) {
  const size = { line: "h-4 w-2/3", title: "h-7 w-56", row: "h-11 w-full", block: "h-48 w-full" }[shape];
  return <div aria-hidden className={`animate-pulse rounded-lg bg-line/70 ${size}`} />;
}

const rowNames = ["first", "second", "third", "fourth", "fifth"];

/** While a list or a page loads; the shape of what comes. */
export function LoadingRows({ rows = 5 }: { rows?: number }) {
  return (
    <div role="status" aria-label="Loading" className="flex flex-col gap-2 p-5">
      {rowNames.slice(0, rows).map((name) => (
        <Skeleton key={name} shape="row" />
      ))}
    </div>
  );
}

export function LoadingPage() {
  return (
    <div role="status" aria-label="Loading" className="flex flex-col gap-5">
      <Skeleton shape="title" />
      <Skeleton shape="line" />
      <Skeleton shape="block" />
      <Skeleton shape="block" />
    </div>
  );
}

type EmptyStateProps = { icon: ReactNode; title: string; children: ReactNode; action?: ReactNode };

/** Says what this page will hold and what to do next. */
export function EmptyState({ icon, title, children, action }: EmptyStateProps) {
  return (
    <div className="flex flex-col items-center px-6 py-16 text-center">
      <div
        className="flex size-11 items-center justify-center rounded-xl bg-accent-soft text-accent-text [&_svg]:size-5"
        aria-hidden
      >
        {icon}
      </div>
      <h2 className="mt-4 text-[15px] font-semibold text-ink">{title}</h2>
      <div className="mt-1.5 max-w-md text-sm text-balance text-muted">{children}</div>
      {action === undefined ? null : <div className="mt-5 flex flex-wrap justify-center gap-2">{action}</div>}
    </div>
  );
}

type ErrorStateProps = { title: string; message: string; onRetry: () => void };

export function ErrorState({ title, message, onRetry }: ErrorStateProps) {
  return (
    <div role="alert" className="flex flex-col items-center px-6 py-16 text-center">
      <div
        className="flex size-11 items-center justify-center rounded-xl bg-danger-soft text-danger-text [&_svg]:size-5"
        aria-hidden
      >
        <CircleAlert />
      </div>
      <h2 className="mt-4 text-[15px] font-semibold text-ink">{title}</h2>
      <p className="mt-1.5 max-w-md text-sm text-balance text-muted">{message}</p>
      <div className="mt-5">
        <Button onClick={onRetry}>Try again</Button>
      </div>
    </div>
  );
}

type NoticeProps = { tone: "info" | "good" | "warn" | "bad"; title: string; children?: ReactNode };
const noticeTones = {
  info: "border-info/25 bg-info-soft text-info",
  good: "border-accent/25 bg-accent-soft text-accent-text",
  warn: "border-warn/25 bg-warn-soft text-warn",
  bad: "border-danger/25 bg-danger-soft text-danger-text",
};

export function Notice({ tone, title, children }: NoticeProps) {
  return (
    <div
      role={tone === "bad" ? "alert" : "status"}
      className={`rounded-xl border px-4 py-3 text-sm ${noticeTones[tone]}`}
    >
      <p className="font-medium">{title}</p>
      {children === undefined ? null : <div className="mt-1 text-ink/80">{children}</div>}
    </div>
  );
}
