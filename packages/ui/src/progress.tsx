"use client";
import { Progress as Radix } from "radix-ui";

/** `fraction` from 0 to 1. */
export function ProgressBar({ fraction, label }: { fraction: number; label: string }) {
  const percent = Math.round(Math.min(1, Math.max(0, fraction)) * 100);
  return (
    <Radix.Root value={percent} aria-label={label} className="h-1.5 w-full overflow-hidden rounded-full bg-line">
      <Radix.Indicator
        className="h-full rounded-full bg-accent transition-[width] duration-500"
        style={{ width: `${percent}%` }}
      />
    </Radix.Root>
  );
}

/** A score beside its number, in tables and summaries. */
export function ScoreBar({ score, tone }: { score: number; tone: "accent" | "base" }) {
  return (
    <span className="block h-1.5 w-full overflow-hidden rounded-full bg-line" aria-hidden>
      <span
        className={`block h-full rounded-full ${tone === "accent" ? "bg-accent" : "bg-faint"}`}
        style={{ width: `${Math.min(1, Math.max(0, score)) * 100}%` }}
      />
    </span>
  );
}
