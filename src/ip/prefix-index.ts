/** Many things with a prefix each, of which those within another prefix are asked for: a pool's routes among a hundred thousand. */
import { type Bits, firstBits, holds } from './bits.js';

/** Prefixes that begin with the same bits are in one bucket: blocks of a /16, or of a /48, are some thousand. */
const bucket_bits: Readonly<Record<number, number>> = { 4: 16, 16: 48 };

export class PrefixIndex<T extends Bits> {
  /** By the first bits. Of both families: these have 2 characters, those 6. */
  readonly #buckets = new Map<string, Set<T>>();
  /** Too short for a bucket. */
  readonly #short = new Set<T>();

  add(item: T): void {
    const name = bucketOf(item);
    if (name === undefined) {
      this.#short.add(item);
      return;
    }
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) this.#buckets.set(name, new Set([item]));
    else bucket.add(item);
  }

  delete(item: T): void {
    const name = bucketOf(item);
    if (name === undefined) {
      this.#short.delete(item);
      return;
    }
    const bucket = this.#buckets.get(name);
    bucket?.delete(item);
    if (bucket?.size === 0) this.#buckets.delete(name);
  }

  /** All whose prefix is this one or lies in it. */
  *within(bits: Bits): Iterable<T> {
    const name = bucketOf(bits);
    if (name !== undefined) {
      for (const item of this.#buckets.get(name) ?? []) if (holds(bits, item)) yield item;
      return;
    }
    for (const item of this.#short) if (holds(bits, item)) yield item;
    const start = firstBits(bits.bytes, bits.length);
    const bucket_length = bucket_bits[bits.bytes.length]! >> 3;
    for (const [name, bucket] of this.#buckets) {
      if (name.length === bucket_length && firstBits(name, bits.length) === start) yield* bucket;
    }
  }
}

function bucketOf({ bytes, length }: Bits): string | undefined {
  const bits = bucket_bits[bytes.length]!;
  return length < bits ? undefined : bytes.slice(0, bits >> 3);
}
