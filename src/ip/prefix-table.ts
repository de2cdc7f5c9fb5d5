/** A few prefixes with something to each, of which the longest one that holds an address or a prefix is asked for. */
import { type Bits, firstBits } from './bits.js';

export class PrefixTable<T> {
  /** By the length of an address in bytes: lengths of prefixes, the longest first, and what is there by first bits. */
  readonly #families = new Map<number, Map<number, Map<string, T>>>();

  set({ bytes, length }: Bits, value: T): void {
    let lengths = this.#families.get(bytes.length);
    if (lengths?.has(length) !== true) {
      const all = [...(lengths ?? []), [length, new Map<string, T>()] as const];
      lengths = new Map(all.sort(([a], [b]) => b - a));
      this.#families.set(bytes.length, lengths);
    }
    lengths.get(length)!.set(firstBits(bytes, length), value);
  }

  delete({ bytes, length }: Bits): void {
    const lengths = this.#families.get(bytes.length);
    const there = lengths?.get(length);
    there?.delete(firstBits(bytes, length));
    if (there?.size === 0) lengths!.delete(length);
  }

  /** That of the longest prefix that holds all of this one; `below`: and is shorter than this. */
  longest({ bytes, length }: Bits, below = Number.POSITIVE_INFINITY): T | undefined {
    for (const [outer, there] of this.#families.get(bytes.length) ?? []) {
      if (outer > length || outer >= below) continue;
      const value = there.get(firstBits(bytes, outer));
      if (value !== undefined) return value;
    }
    return undefined;
  }
}
