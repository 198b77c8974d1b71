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

/** Which 53-bit hashes were seen, in flat memory: 8 to 16 bytes an entry where a Set takes 40. */
export class HashSet53 {
  #slots = new Float64Array(1 << 12);
  #size = 0;

  /** True where the hash is new. */
  add(hash: number): boolean {
    const value = hash + 1; // 0 marks an empty slot
    if (!insert(this.#slots, value)) return false;
    this.#size++;
    if (this.#size * 2 > this.#slots.length) this.#grow();
    return true;
  }

  #grow(): void {
    const larger = new Float64Array(this.#slots.length * 2);
    for (const value of this.#slots) if (value !== 0) insert(larger, value);
    this.#slots = larger;
  }
}

function insert(slots: Float64Array, value: number): boolean {
  const mask = slots.length - 1;
  let at = (value >>> 0) & mask;
  for (let held = slots[at]; held !== 0; held = slots[at]) {
    if (held === value) return false;
    at = (at + 1) & mask;
  }
  slots[at] = value;
  return true;
}
