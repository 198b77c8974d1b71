import type { Page } from "@grove/contracts/pages";

/** `rows` were asked for with one more than `limit`, newest first: ids are uuid(7), so their order is the order of time. */
export function toPage<R extends { id: string }, V>(rows: R[], limit: number, view: (row: R) => V): Page<V> {
  const shown = rows.slice(0, limit);
  const more = rows.length > limit;
  return { items: shown.map(view), nextCursor: more ? (shown.at(-1)?.id ?? null) : null };
}
