/** OpenAI leaves the stop sequence out of the answer, so a stream holds back what could be its beginning. */
export class HoldBack {
  readonly #stops: string[];
  #held = "";

  constructor(stops: string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  add(piece: string): string {
    const text = this.#held + piece;
    const keep = this.#couldBegin(text);
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What is left at the end, without the stop sequence if one ended the answer. */
  finish(piece: string, stopped: boolean): string {
    const text = this.#held + piece;
    return stopped ? withoutStop(text, this.#stops) : text;
  }

  #couldBegin(text: string): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      if (this.#stops.some((stop) => stop.startsWith(text.slice(-length)))) return length;
    }
    return 0;
  }
}

/** The longest stop sequence at the end of the text goes. */
export function withoutStop(text: string, stops: string[]): string {
  const found = stops.filter((stop) => text.endsWith(stop)).sort((a, b) => b.length - a.length)[0] ?? "";
  return text.slice(0, text.length - found.length);
}
