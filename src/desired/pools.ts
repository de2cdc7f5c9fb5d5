/** The IP pools by what they hold. */
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixTable } from '../ip/prefix-table.js';

/** Pools that are gone, of which it is still known that they were there. */
const gone_max = 64;

/** A pool that was deleted, or cannot be read, and has not come back. */
export interface GonePool {
  readonly name: string;
  readonly prefix: string;
  readonly is_faulty: boolean;
  /** Pods have, or had, its addresses. */
  readonly is_of_pods: boolean;
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
    const forgotten = this.#remember(name, before, told);
    if (before !== undefined && pool !== undefined && isSameWay(before, pool)) return [];
    const prefixes = new Set([before, told, ...forgotten].flatMap((each) => each?.prefix ?? []));
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

  /** Of those whose addresses pods have, and of those that are gone, by prefix the name of one. */
  ofPods(): ReadonlyMap<string, string> {
    const names = new Map<string, string>();
    for (const { name, prefix, is_of_pods } of this.#gone.values()) if (is_of_pods) names.set(prefix, name);
    for (const [name, pool] of this.#pools) if (isOfPods(pool)) names.set(pool.prefix, name);
    return names;
  }

  /** By `IPPool name`, what is wrong with pools among themselves. `encrypted`: nothing goes in clear to one that is gone. */
  *faults(encrypted = false): Iterable<readonly [object: string, text: string]> {
    for (const { name, prefix, routes, is_faulty } of this.#gone.values()) {
      if (routes === 0) continue;
      const how = encrypted ? 'are encrypted, or dropped' : 'go without a tunnel now';
      yield [
        `IPPool ${name}`,
        is_faulty
          ? `(${prefix}) cannot be read while ${routes} routes lead to its addresses, which ${how}: put it right`
          : `(${prefix}) is deleted while ${routes} routes lead to its addresses, which ${how}: delete their pods, or make the pool anew`,
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

  /** Answers what is known no more, of those that were gone. */
  #remember(name: string, before: IpPool | undefined, told: IpPool | undefined): readonly GonePool[] {
    const known = this.#gone.get(name);
    const forgotten = known === undefined ? [] : [known];
    if (known !== undefined) this.#forget(known);
    const is_faulty = told?.faulty === true;
    if (told !== undefined && !is_faulty) return forgotten;
    // What was not readable, and is deleted then, is known as it was.
    const last = told ?? before;
    const gone: GonePool | undefined = last
      ? { name, prefix: last.prefix, is_faulty, is_of_pods: isOfPods(last), routes: 0 }
      : known && { ...known, is_faulty, routes: 0 };
    if (gone === undefined) return forgotten;
    this.#gone.set(name, gone);
    this.#gone_by_prefix.set(bitsOf(gone.prefix), gone);
    const [oldest] = this.#gone.values();
    if (this.#gone.size <= gone_max || oldest === undefined) return forgotten;
    this.#forget(oldest);
    return [...forgotten, oldest];
  }

  #forget(gone: GonePool): void {
    this.#gone.delete(gone.name);
    const bits = bitsOf(gone.prefix);
    if (this.#gone_by_prefix.longest(bits) === gone) this.#gone_by_prefix.delete(bits);
  }
}

/** Where nothing is said, or workloads or tunnels are among what is. */
function isOfPods({ allowed_uses }: IpPool): boolean {
  return allowed_uses.length === 0 || allowed_uses.some((use) => use !== 'LoadBalancer');
}

function isSameWay(a: IpPool, b: IpPool): boolean {
  return isOfPods(a) === isOfPods(b) && a.prefix === b.prefix && a.ipip === b.ipip && a.vxlan === b.vxlan;
}
