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
  /** It could be read once: pods may have its addresses. */
  readonly was_used: boolean;
  /** Prefixes within it that are in no other pool and have a route, as whoever plans them counts. */
  routes: number;
}

export class Pools {
  readonly #pools = new Map<string, IpPool>();
  readonly #by_prefix = new PrefixTable<IpPool>();
  /** Those of one prefix: the first by name holds, so that all nodes agree. */
  readonly #names = new Map<string, Set<string>>();
  /** By prefix. */
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

  /** Answers what is known no more, of those that were gone. A pool that comes again with other addresses leaves pods with those of before. */
  #remember(name: string, before: IpPool | undefined, told: IpPool | undefined): readonly GonePool[] {
    const is_faulty = told?.faulty === true;
    const known = [...this.#gone.values()].filter((gone) => gone.name === name);
    const over = known.filter(({ prefix, was_used }) => prefix === told?.prefix || !was_used);
    const of_another = told && this.#gone.get(told.prefix);
    if (of_another !== undefined) this.#forget(of_another);
    for (const each of over) this.#forget(each);
    for (const each of known) if (!over.includes(each)) this.#keep({ ...each, is_faulty: false, routes: 0 });
    const as = { name, routes: 0 };
    if (before !== undefined && before.prefix !== told?.prefix) {
      const { prefix } = before;
      this.#keep({ ...as, prefix, is_faulty: false, is_of_pods: isOfPods(before), was_used: true });
    }
    if (told !== undefined && is_faulty) {
      const { prefix } = told;
      const was_used = before?.prefix === prefix || over.some((each) => each.was_used);
      this.#keep({ ...as, prefix, is_faulty, is_of_pods: isOfPods(told), was_used });
    }
    // What was not readable, and is deleted then, is known as it was.
    if (told === undefined) for (const each of over) this.#keep({ ...each, is_faulty: false, routes: 0 });
    return [...known, ...this.#forgetOldest()];
  }

  #keep(gone: GonePool): void {
    this.#gone.delete(gone.prefix);
    this.#gone.set(gone.prefix, gone);
    this.#gone_by_prefix.set(bitsOf(gone.prefix), gone);
  }

  /** One to whose addresses no routes lead, if there is one. */
  #forgetOldest(): readonly GonePool[] {
    const all = [...this.#gone.values()];
    const over = all.length - gone_max;
    if (over <= 0) return [];
    const last = all.slice(0, -1).sort((a, b) => Number(a.routes > 0) - Number(b.routes > 0));
    const oldest = last.slice(0, over);
    for (const each of oldest) this.#forget(each);
    return oldest;
  }

  #forget(gone: GonePool): void {
    this.#gone.delete(gone.prefix);
    this.#gone_by_prefix.delete(bitsOf(gone.prefix));
  }
}

/** Where nothing is said, or workloads or tunnels are among what is. */
function isOfPods({ allowed_uses }: IpPool): boolean {
  return allowed_uses.length === 0 || allowed_uses.some((use) => use !== 'LoadBalancer');
}

function isSameWay(a: IpPool, b: IpPool): boolean {
  return isOfPods(a) === isOfPods(b) && a.prefix === b.prefix && a.ipip === b.ipip && a.vxlan === b.vxlan;
}
