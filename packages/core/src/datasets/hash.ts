/** 53 bits of a string, fast and the same on every machine (cyrb53). Not for security. */
export function hash53(text: string, seed = 0): number {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  return finish(a, b);
}

/** A row's content, whatever the order of its keys: equal rows fall on one side of a split. Empty cells do not count. */
export function hashRow(cells: string[], cellHashes: number[], seed = 0): number {
  let a = 0x9e3779b9 ^ seed;
  let b = 0x85ebca6b ^ seed;
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] === "") continue;
    const hash = cellHashes[i] ?? 0;
    a = Math.imul(a ^ (hash >>> 0) ^ i, 2654435761);
    b = Math.imul(b ^ Math.floor(hash / 2 ** 21) ^ (i * 31), 1597334677);
  }
  return finish(a, b);
}

function finish(first: number, second: number): number {
  let a = first;
  let b = second;
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}

/** Marks by 53-bit hash, in flat memory: 9 to 18 bytes an entry where a Map takes more than 40. */
export class HashMarks53 {
  #slots = new Float64Array(1 << 12);
  #marks = new Uint8Array(1 << 12);
  #size = 0;

  /** Adds a mark, a bit, to those of a hash; the marks that it had before, 0 where it is new. */
  add(hash: number, mark: number): number {
    const value = hash + 1; // 0 marks an empty slot
    const at = find(this.#slots, value);
    const before = this.#marks[at] ?? 0;
    this.#marks[at] = before | mark;
    if (this.#slots[at] === value) return before;
    this.#slots[at] = value;
    this.#size++;
    if (this.#size * 2 > this.#slots.length) this.#grow();
    return 0;
  }

  #grow(): void {
    const slots = new Float64Array(this.#slots.length * 2);
    const marks = new Uint8Array(slots.length);
    this.#slots.forEach((value, i) => {
      if (value === 0) return;
      const at = find(slots, value);
      slots[at] = value;
      marks[at] = this.#marks[i] ?? 0;
    });
    this.#slots = slots;
    this.#marks = marks;
  }
}

/** Where a value stands, or may be put. */
function find(slots: Float64Array, value: number): number {
  const mask = slots.length - 1;
  let at = (value >>> 0) & mask;
  for (let held = slots[at]; held !== 0 && held !== value; held = slots[at]) at = (at + 1) & mask;
  return at;
}
