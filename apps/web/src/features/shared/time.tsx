"use client";
import { useSyncExternalStore } from "react";
import { ago, dateTime } from "./format";

let now = 0;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** One clock for all times on a page; it ticks only while somebody looks. */
function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(tick, 15_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

function tick(): void {
  now = Date.now();
  for (const listener of listeners) listener();
}

function readClock(): number {
  if (now === 0 || Date.now() - now > 15_000) now = Date.now();
  return now;
}

export function TimeAgo({ date }: { date: Date }) {
  const clock = useSyncExternalStore(subscribe, readClock, () => date.getTime());
  return (
    <time dateTime={date.toISOString()} title={dateTime(date)}>
      {ago(date, clock)}
    </time>
  );
}
