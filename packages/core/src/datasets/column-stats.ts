import type { ColumnProfile } from "@grove/contracts/datasets";

const EXACT_DISTINCT = 10_000;
const LABELS = { values: 200, characters: 200, shown: 20, rarest: 5 };
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const BOOLEAN = /^(?:true|false)$/i;

/** What is worth knowing about one column, in memory that does not grow with the file. */
export class ColumnStats {
  readonly #name: string;
  #seen = 0;
  #empty = 0;
  #maxCharacters = 0;
  #number = true;
  #boolean = true;
  #json = true;
  #counts = new Map<number, { value: string | null; count: number }>();
  #counting = true;
  readonly #sketch = new DistinctSketch();

  constructor(name: string) {
    this.#name = name;
  }

  add(cell: string, hash: number): void {
    if (cell === "") return;
    this.#seen++;
    if (cell.length > this.#maxCharacters) this.#maxCharacters = cell.length;
    if (this.#number) this.#number = cell.length <= 64 && NUMBER.test(cell.trim());
    if (this.#boolean) this.#boolean = cell.length <= 8 && BOOLEAN.test(cell.trim());
    if (this.#json) this.#json = isJson(cell);
    this.#sketch.add(hash);
    if (this.#counting) this.#count(cell, hash);
  }

  profile(rows: number): ColumnProfile {
    this.#empty = rows - this.#seen;
    const distinct = this.#counting
      ? this.#counts.size
      : Math.max(EXACT_DISTINCT + 1, Math.min(this.#seen, this.#sketch.estimate()));
    return {
      name: this.#name,
      type: this.#type(),
      empty: this.#empty,
      distinct,
      maxCharacters: this.#maxCharacters,
      ...this.#labels(),
    };
  }

  #count(cell: string, hash: number): void {
    const known = this.#counts.get(hash);
    if (known) known.count++;
    else if (this.#counts.size < EXACT_DISTINCT)
      this.#counts.set(hash, { value: cell.length <= LABELS.characters ? detached(cell) : null, count: 1 });
    else {
      this.#counting = false;
      this.#counts.clear();
    }
  }

  #type(): ColumnProfile["type"] {
    if (this.#seen === 0) return "text";
    if (this.#boolean) return "boolean";
    if (this.#number) return "number";
    return this.#json ? "json" : "text";
  }

  /** Only where values repeat: a column of texts has no top values. */
  #labels(): Pick<ColumnProfile, "topValues" | "rarestValues"> {
    if (!this.#counting || this.#counts.size > LABELS.values || this.#counts.size * 2 > this.#seen)
      return { topValues: [] };
    const known: { value: string; count: number }[] = [];
    for (const { value, count } of this.#counts.values()) if (value !== null) known.push({ value, count });
    known.sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
    const rest = known.slice(LABELS.shown);
    return {
      topValues: known.slice(0, LABELS.shown),
      ...(rest.length === 0 ? {} : { rarestValues: rest.slice(-LABELS.rarest).reverse() }),
    };
  }
}

function isJson(cell: string): boolean {
  const first = cell.charCodeAt(0);
  if (first !== 123 && first !== 91) return false; // { or [
  try {
    JSON.parse(cell);
    return true;
  } catch {
    return false;
  }
}

/** A slice of a block keeps the whole block in memory; this copy does not. */
function detached(text: string): string {
  return Buffer.from(text).toString();
}

/** HyperLogLog with 4,096 registers: distinct values within about 2 %. */
class DistinctSketch {
  readonly #registers = new Uint8Array(4096);

  add(hash: number): void {
    const register = hash % 4096;
    const rest = Math.floor(hash / 4096); // 41 bits
    const high = Math.floor(rest / 2 ** 9); // its upper 32
    const rank = Math.clz32(high) + 1;
    if (rank > (this.#registers[register] ?? 0)) this.#registers[register] = rank;
  }

  estimate(): number {
    let sum = 0;
    let zeros = 0;
    for (const rank of this.#registers) {
      sum += 2 ** -rank;
      if (rank === 0) zeros++;
    }
    const size = this.#registers.length;
    const raw = ((0.7213 / (1 + 1.079 / size)) * size * size) / sum;
    return Math.round(raw <= 2.5 * size && zeros > 0 ? size * Math.log(size / zeros) : raw);
  }
}
