export type Numbered<T> = { key: string; item: T };

/** For lists that are drawn as they come and never reordered: a row's place is its identity. */
export function numbered<T>(items: readonly T[]): Numbered<T>[] {
  return items.map((item, index) => ({ key: `${index}`, item }));
}
