/** The IP pools by what they hold. */
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixTable } from '../ip/prefix-table.js';

/** Pools that are gone, of which it is still known that they were there. */
const gone_max = 64;

export interface GonePool {
  readonly name: string;
  readonly prefix: string;
  readonly bits: Bits;
}

export class Pools {
  readonly #pools = new Map<string, IpPool>();
  readonly #by_prefix = new PrefixTable<IpPool>();
  /** Those of one prefix: the first by name holds, so that all nodes agree. */
  readonly #names = new Map<string, Set<string>>();
  readonly #gone = new Map<string, GonePool>();

  /** Answers the prefixes in which routes may go another way now. */
  set(name: string, pool: IpPool | undefined): readonly Bits[] {
    const before = this.#pools.get(name);
    if (pool === undefined) this.#pools.delete(name);
    else this.#pools.set(name, pool);
    this.#remember(name, before, pool);
    if (before !== undefined && pool !== undefined && isSameWay(before, pool)) return [];
    const prefixes = new Set([before, pool].flatMap((each) => (each === undefined ? [] : each.prefix)));
    if (before !== undefined) {
      const names = this.#names.get(before.prefix);
      names?.delete(name);
      if (names?.size === 0) this.#names.delete(before.prefix);
    }
    if (pool !== undefined) {
      const names = this.#names.get(pool.prefix);
      if (names === undefined) this.#names.set(pool.prefix, new Set([name]));
      else names.add(name);
    }
    return [...prefixes].map((prefix) => {
      const bits = bitsOf(prefix);
      const holder = this.#holder(prefix);
      if (holder === undefined) this.#by_prefix.delete(bits);
      else this.#by_prefix.set(bits, this.#pools.get(holder)!);
      return bits;
    });
  }

  /** The pool that decides for this prefix: the longest one that holds it. */
  of(bits: Bits): IpPool | undefined {
    return this.#by_prefix.longest(bits);
  }

  get count(): number {
    return this.#pools.size;
  }

  /** Pools that were deleted and have not come back. */
  get gone(): Iterable<GonePool> {
    return this.#gone.values();
  }

  /** By `IPPool name`, what is wrong with pools among themselves. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const [name, { prefix }] of this.#pools) {
      const holder = this.#holder(prefix)!;
      if (holder !== name) {
        yield [
          `IPPool ${name}`,
          `has the prefix ${prefix} of IPPool ${holder}, which holds: delete one of them`,
        ];
      }
      const bits = bitsOf(prefix);
      const outer = this.#by_prefix.longest(bits, bits.length);
      if (outer !== undefined) {
        yield [
          `IPPool ${name}`,
          `(${prefix}) lies within IPPool ${outer.name} (${outer.prefix}); for its addresses it holds itself: make them disjoint`,
        ];
      }
    }
  }

  #holder(prefix: string): string | undefined {
    let first: string | undefined;
    for (const name of this.#names.get(prefix) ?? []) if (first === undefined || name < first) first = name;
    return first;
  }

  #remember(name: string, before: IpPool | undefined, pool: IpPool | undefined): void {
    this.#gone.delete(name);
    if (pool !== undefined || before === undefined) return;
    this.#gone.set(name, { name, prefix: before.prefix, bits: bitsOf(before.prefix) });
    const [oldest] = this.#gone.keys();
    if (this.#gone.size > gone_max) this.#gone.delete(oldest!);
  }
}

function isSameWay(a: IpPool, b: IpPool): boolean {
  return a.prefix === b.prefix && a.ipip === b.ipip && a.vxlan === b.vxlan;
}
