/** The IP pools by what they hold. */
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixTable } from '../ip/prefix-table.js';

/** Pools that are gone, of which it is still known that they were there. */
const gone_max = 64;

/** A pool that was deleted and has not come back. */
export interface GonePool {
  readonly name: string;
  readonly prefix: string;
  /** Prefixes within it that are in no other pool and have a route, as whoever plans them counts. */
  routes: number;
}

export class Pools {
  readonly #pools = new Map<string, IpPool>();
  readonly #by_prefix = new PrefixTable<IpPool>();
  /** Those of one prefix: the first by name holds, so that all nodes agree. */
  readonly #names = new Map<string, Set<string>>();
  readonly #gone = new Map<string, GonePool>();
  readonly #gone_by_prefix = new PrefixTable<GonePool>();

  /** Answers the prefixes in which routes may go another way now. */
  set(name: string, told: IpPool | undefined): readonly Bits[] {
    const pool = told?.faulty === true ? undefined : told;
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

  /** The pool that would hold this prefix, had it not been deleted. */
  goneOf(bits: Bits): GonePool | undefined {
    return this.#gone.size === 0 ? undefined : this.#gone_by_prefix.longest(bits);
  }

  /** By `IPPool name`, what is wrong with pools among themselves. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const { name, prefix, routes } of this.#gone.values()) {
      if (routes === 0) continue;
      yield [
        `IPPool ${name}`,
        `(${prefix}) is deleted while ${routes} routes lead to its addresses, which go without a tunnel now: delete their pods, or make the pool anew`,
      ];
    }
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
    const gone = this.#gone.get(name);
    if (gone !== undefined) this.#forget(gone);
    if (pool !== undefined || before === undefined) return;
    const { prefix } = before;
    const now: GonePool = { name, prefix, routes: 0 };
    this.#gone.set(name, now);
    this.#gone_by_prefix.set(bitsOf(prefix), now);
    const [oldest] = this.#gone.values();
    if (this.#gone.size > gone_max) this.#forget(oldest!);
  }

  #forget(gone: GonePool): void {
    this.#gone.delete(gone.name);
    const bits = bitsOf(gone.prefix);
    if (this.#gone_by_prefix.longest(bits) === gone) this.#gone_by_prefix.delete(bits);
  }
}

function isSameWay(a: IpPool, b: IpPool): boolean {
  return a.prefix === b.prefix && a.ipip === b.ipip && a.vxlan === b.vxlan;
}
