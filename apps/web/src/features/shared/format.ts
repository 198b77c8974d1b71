const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export function count(value: number): string {
  return whole.format(value);
}

/** 12,345 stays as it is; from a hundred thousand on, 123.5K. */
export function tokens(value: number): string {
  return value < 100_000 ? whole.format(value) : compact.format(value);
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

/** Small sums keep the digits that matter: $0.000042, $0.0312, $12.40. */
export function money(microUsd: bigint): string {
  const negative = microUsd < 0n ? "-" : "";
  const micro = microUsd < 0n ? -microUsd : microUsd;
  const dollars = micro / 1_000_000n;
  const rest = (micro % 1_000_000n).toString().padStart(6, "0");
  if (micro === 0n) return "$0.00";
  const digits = dollars > 0n || micro % 10_000n === 0n ? 2 : micro >= 10_000n ? 4 : 6;
  return `${negative}$${whole.format(dollars)}.${rest.slice(0, digits)}`;
}

export function percent(fraction: number): string {
  const value = fraction * 100;
  return `${value === 0 || value === 100 ? value : value.toFixed(1)}%`;
}

export function points(difference: number): string {
  const value = difference * 100;
  if (Math.abs(value) < 0.05) return "±0 pts";
  return `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(1)} pts`;
}

export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const total = Math.round(seconds);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${total % 60} s`;
}

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const moment = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});

export function dateTime(date: Date): string {
  return moment.format(date);
}

export function ago(date: Date, now: number): string {
  const seconds = Math.max(0, (now - date.getTime()) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  if (seconds < 7 * 86_400) return `${plural(Math.round(seconds / 86_400), "day")} ago`;
  return day.format(date);
}

export function shortHash(sha256: string): string {
  return sha256.slice(0, 12);
}
