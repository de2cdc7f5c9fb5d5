/**
 * What is told to peers when no filter has decided: own paths, and of others those of the pools, but nothing longer than a block of this node. By prefix
 * alone, so that what a change of them concerns can be said beforehand. Pure.
 */
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { type Bits, bitsOf, holds } from '../ip/bits.js';
import { splitPrefix } from '../ip/prefix.js';
import { addressBits, type Family, familyOf } from '../ip/text.js';

/** The first one with an entry that fits decides; where none does nothing is told. */
export interface ExportRule {
  /** For people: `own-4`. */
  readonly what: string;
  readonly action: 'accept' | 'reject';
  readonly entries: readonly PrefixEntry[];
}

/** All prefixes within this one that have a length from `min` to `max`. */
export interface PrefixEntry {
  readonly prefix: string;
  readonly min: number;
  readonly max: number;
}

const pool_not_exported = 'pool-not-exported';

export interface ExportInputs {
  readonly pools: ReadonlyMap<string, IpPool>;
  /** Prefixes of pools that were not to be announced: kept here so that the next process knows of them, too. */
  readonly gone_pools: readonly string[];
  /** Canonical: what lies within them is this node's to tell of. */
  readonly own_blocks: readonly string[];
  /** What is announced. By name, and not as what comes from here: where another's path to the same prefix is the best, that one is told. */
  readonly own_prefixes: readonly string[];
  /** What a route reflector passes on beside pools; empty where this node is none. */
  readonly reflected_prefixes: readonly string[];
}

export function exportRules({
  own_blocks,
  own_prefixes,
  pools,
  gone_pools,
  reflected_prefixes,
}: ExportInputs): readonly ExportRule[] {
  const rules: ExportRule[] = [];
  const add = (
    what: string,
    action: ExportRule['action'],
    prefixes: readonly string[],
    lengths: (family: Family, length: number) => Pick<PrefixEntry, 'min' | 'max'>,
  ): void => {
    for (const family of [4, 6] as const) {
      const entries = [...new Set(prefixes)]
        .filter((prefix) => familyOf(prefix) === family)
        .sort()
        .map((prefix) => ({ prefix, ...lengths(family, splitPrefix(prefix).length) }))
        .filter(({ min, max }) => min <= max);
      if (entries.length > 0) rules.push({ what: `${what}-${family}`, action, entries });
    }
  };
  const within = (family: Family, length: number) => ({ min: length, max: addressBits(family) });
  add('own', 'accept', own_prefixes, (_, length) => ({ min: length, max: length }));
  add('own-block', 'reject', own_blocks, (family, length) => within(family, length + 1));
  // The longest pool of a route says whether it is told.
  const usable: Pick<IpPool, 'prefix' | 'disable_bgp_export'>[] = [
    ...[...pools.values()].filter(({ faulty, disable_bgp_export }) => faulty !== true || disable_bgp_export),
    ...gone_pools.map((prefix) => ({ prefix, disable_bgp_export: true })),
  ];
  const ordered = usable.sort(
    (a, b) => splitPrefix(b.prefix).length - splitPrefix(a.prefix).length || (a.prefix < b.prefix ? -1 : 1),
  );
  for (const run of runsOf(ordered, ({ disable_bgp_export }) => disable_bgp_export)) {
    const off = run[0]?.disable_bgp_export === true;
    const prefixes = run.map(({ prefix }) => prefix);
    add(off ? pool_not_exported : 'pool', off ? 'reject' : 'accept', prefixes, within);
  }
  add('reflected', 'accept', reflected_prefixes, within);
  return rules;
}

/** Prefixes of pools that rules keep from peers. */
export function poolsNotExported(rules: readonly ExportRule[]): readonly string[] {
  return rules.flatMap(({ what, entries }) =>
    what.startsWith(pool_not_exported) ? entries.map(({ prefix }) => prefix) : [],
  );
}

/** Of these prefixes, what one set of rules lets out and the other does not: told anew, and told no more. `before` undefined: nothing is known of it. */
export function whatDiffers(
  before: readonly ExportRule[],
  after: readonly ExportRule[],
  prefixes: Iterable<string>,
): { readonly more: readonly string[]; readonly less: readonly string[] } {
  const changed = changedEntries(before, after).map(({ prefix }) => bitsOf(prefix));
  const more: string[] = [];
  const less: string[] = [];
  if (changed.length === 0) return { more, less };
  const was = compiled(before);
  const is = compiled(after);
  for (const prefix of prefixes) {
    const bits = bitsOf(prefix);
    if (!changed.some((outer) => holds(outer, bits))) continue;
    const told = tells(is, bits);
    if (told === tells(was, bits)) continue;
    (told ? more : less).push(prefix);
  }
  return { more, less };
}

/** Of these prefixes, those that the rules do not let out. */
export function notTold(rules: readonly ExportRule[], prefixes: readonly string[]): readonly string[] {
  const compiled_rules = compiled(rules);
  return prefixes.filter((prefix) => !tells(compiled_rules, bitsOf(prefix)));
}

type Compiled = readonly {
  readonly accepts: boolean;
  readonly entries: readonly (PrefixEntry & { readonly bits: Bits })[];
}[];

const compiled = (rules: readonly ExportRule[]): Compiled =>
  rules.map(({ action, entries }) => ({
    accepts: action === 'accept',
    entries: entries.map((entry) => ({ ...entry, bits: bitsOf(entry.prefix) })),
  }));

function tells(rules: Compiled, prefix: Bits): boolean {
  const decides = rules.find(({ entries }) =>
    entries.some(({ bits, min, max }) => prefix.length >= min && prefix.length <= max && holds(bits, prefix)),
  );
  return decides?.accepts === true;
}

/** Entries of which the one has more or others than the other, and those of rules that stand elsewhere. */
function changedEntries(before: readonly ExportRule[], after: readonly ExportRule[]): readonly PrefixEntry[] {
  const keyed = (rules: readonly ExportRule[]) => {
    const order = new Map<string, number>();
    return new Map(
      rules.flatMap(({ what, action, entries }) => {
        // Of several rules of one kind, which one.
        const nth = (order.get(what) ?? 0) + 1;
        order.set(what, nth);
        return entries.map((entry) => [
          `${what} ${nth} ${action} ${entry.prefix} ${entry.min} ${entry.max}`,
          entry,
        ]);
      }),
    );
  };
  const was = keyed(before) as ReadonlyMap<string, PrefixEntry>;
  const is = keyed(after) as ReadonlyMap<string, PrefixEntry>;
  return [
    ...[...was].flatMap(([key, entry]) => (is.has(key) ? [] : [entry])),
    ...[...is].flatMap(([key, entry]) => (was.has(key) ? [] : [entry])),
  ];
}

/** Neighbours with the same answer, together. */
function runsOf<T>(list: readonly T[], answer: (each: T) => boolean): readonly (readonly T[])[] {
  const runs: T[][] = [];
  for (const each of list) {
    const run = runs.at(-1);
    if (run?.[0] !== undefined && answer(run[0]) === answer(each)) run.push(each);
    else runs.push([each]);
  }
  return runs;
}
