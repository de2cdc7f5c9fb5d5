/** Addresses, of which those within a prefix are asked for at each of a hundred thousand prefixes: mostly there are none. */
import { type Bits, firstBits } from './bits.js';

interface Family<T> {
  readonly items: Set<T>;
  /** By each length of a prefix that was asked about, and first bits. */
  readonly lengths: Map<number, Map<string, Set<T>>>;
}

export class AddressIndex<T extends Bits> {
  /** By the length of an address in bytes. */
  readonly #families = new Map<number, Family<T>>([4, 16].map((bytes) => [bytes, newFamily()]));

  add(item: T): void {
    const { items, lengths } = this.#families.get(item.bytes.length)!;
    items.add(item);
    for (const [length, by_bits] of lengths) put(by_bits, firstBits(item.bytes, length), item);
  }

  delete(item: T): void {
    const { items, lengths } = this.#families.get(item.bytes.length)!;
    items.delete(item);
    for (const [length, by_bits] of lengths) {
      const name = firstBits(item.bytes, length);
      const there = by_bits.get(name);
      there?.delete(item);
      if (there?.size === 0) by_bits.delete(name);
    }
  }

  /** Those that are in this prefix. */
  within({ bytes, length }: Bits): ReadonlySet<T> {
    const { items, lengths } = this.#families.get(bytes.length)!;
    let by_bits = lengths.get(length);
    if (by_bits === undefined) {
      by_bits = new Map();
      lengths.set(length, by_bits);
      for (const item of items) put(by_bits, firstBits(item.bytes, length), item);
    }
    return by_bits.get(firstBits(bytes, length)) ?? nothing;
  }

  /** The lengths of prefixes of this family that were asked about: no other one can hold an address. */
  lengths({ bytes }: Bits): Iterable<number> {
    return this.#families.get(bytes.length)!.lengths.keys();
  }
}

const nothing: ReadonlySet<never> = new Set();

function newFamily<T>(): Family<T> {
  return { items: new Set(), lengths: new Map() };
}

function put<T>(by_bits: Map<string, Set<T>>, name: string, item: T): void {
  const there = by_bits.get(name);
  if (there === undefined) by_bits.set(name, new Set([item]));
  else there.add(item);
}
