/**
 * The two policies, `export` and `import`, as a whole: what they say of a peer, and of all. Pure.
 *
 * A statement's name says where it stands and, by a hash, what it says: whether gobgpd has these policies is seen by the names alone.
 */
import { createHash } from 'node:crypto';
import type { DefinedSetInput, PolicyInput, StatementInput } from 'gobgp-grpc-stubs';
import type { BgpFilter } from '../calico/kinds/bgp-filter.js';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { splitPrefix } from '../ip/prefix.js';
import { addressBits, type Family, familyOf } from '../ip/text.js';
import { type Clause, type ClauseSet, filterClauses, rejectAll } from './filter-rules.js';
import type { WantedPeer } from './peers.js';
import type { Troubles } from './troubles.js';

export type Direction = 'import' | 'export';

export interface WantedPolicies {
  readonly sets: readonly DefinedSetInput[];
  readonly policies: readonly PolicyInput[];
}

export interface PoliciesInputs {
  readonly peers: ReadonlyMap<string, WantedPeer>;
  readonly filters: ReadonlyMap<string, BgpFilter>;
  readonly pools: ReadonlyMap<string, IpPool>;
  /** Canonical: what lies within them is this node's to tell of. */
  readonly own_blocks: readonly string[];
  /** What a route reflector passes on beside pools; empty where this node is none. */
  readonly reflected_prefixes: readonly string[];
  readonly compares_local_pref: boolean;
}

/** What GoBGP does with a route of which no statement decides. */
export const default_action = { import: 'accept', export: 'reject' } as const;

export const policyName = (direction: Direction): string => `calico-${direction}`;

/** The part of a statement's name that says whom it is for: an address, or `all`. */
export const concernOf = (statement_name: string): string => statement_name.split(' ')[1] ?? '';

export const isFilter = (statement_name: string): boolean => statement_name.includes(' filter:');

interface Draft {
  /** An address, or `all`. */
  readonly concern: string;
  /** For people. */
  readonly what: string;
  readonly clause: Clause;
}

export function wantedPolicies(inputs: PoliciesInputs, troubles: Troubles): WantedPolicies {
  const sets: DefinedSetInput[] = [];
  const policies = (['import', 'export'] as const).map((direction) => {
    const drafts = [...inputs.peers.values()].flatMap((peer) => [
      ...(direction === 'export' ? nextHopDrafts(peer) : []),
      ...filterDrafts(peer, direction, inputs, troubles),
    ]);
    if (direction === 'export') drafts.push(...exportRules(inputs));
    return policy(direction, drafts, sets);
  });
  return { sets, policies };
}

function policy(direction: Direction, drafts: readonly Draft[], sets: DefinedSetInput[]): PolicyInput {
  const statements = drafts.map(({ concern, what, clause }, index): StatementInput => {
    const content = createHash('sha256').update(JSON.stringify(clause)).digest('hex').slice(0, 12);
    const name = `${direction} ${concern} ${index} ${what} ${content}`;
    const own_sets = concern === 'all' ? clause.sets : [neighbour(concern), ...clause.sets];
    const conditions = Object.fromEntries(
      own_sets.map(({ condition, match, set }) => {
        const set_name = `${name} ${condition}`;
        sets.push({ ...set, name: set_name });
        return [condition, { type: match, name: set_name }];
      }),
    );
    return { name, conditions: { ...clause.conditions, ...conditions }, actions: clause.actions };
  });
  return { name: policyName(direction), statements };
}

function neighbour(address: string): ClauseSet {
  const list = [`${address}/${addressBits(familyOf(address))}`];
  return { condition: 'neighbor_set', match: 'any', set: { defined_type: 'neighbor', list } };
}

/** Only what differs from BGP's own way: routes of this node have its address, others keep theirs towards the same AS and get this node's towards another. */
function nextHopDrafts({ address, next_hop_mode, as_number, local_as }: WantedPeer): readonly Draft[] {
  const internal = as_number === local_as;
  const nexthop =
    next_hop_mode === 'Self' && internal
      ? { self: true }
      : next_hop_mode === 'Keep' && !internal
        ? { unchanged: true }
        : undefined;
  return nexthop === undefined
    ? []
    : [{ concern: address, what: 'next-hop', clause: { sets: [], conditions: {}, actions: { nexthop } } }];
}

function filterDrafts(
  { address, filters, as_number, local_as, by }: WantedPeer,
  direction: Direction,
  inputs: PoliciesInputs,
  troubles: Troubles,
): readonly Draft[] {
  return filters.flatMap((name) => {
    const filter = inputs.filters.get(name);
    if (filter === undefined)
      troubles.add(
        by,
        `spec.filters: there is no BGPFilter ${name} that can be used: no route passes until there is`,
      );
    for (const field of filter?.unknown_fields ?? [])
      troubles.add(`BGPFilter ${name}`, `${field}: is not known, and has no effect`);
    const clauses =
      filter === undefined
        ? [rejectAll]
        : filterClauses(filter, {
            direction,
            family: familyOf(address),
            internal: as_number === local_as,
            local_as,
            compares_local_pref: inputs.compares_local_pref,
            fault: (place, cause) => troubles.add(`BGPFilter ${name}`, `${place}: ${cause}`),
          });
    return clauses.map((clause) => ({ concern: address, what: `filter:${name}`, clause }));
  });
}

/** What is told to peers when no filter has decided: own paths, and of others those of the pools, but nothing longer than a block of this node. */
function exportRules({ own_blocks, pools, reflected_prefixes }: PoliciesInputs): readonly Draft[] {
  const accept = { route_action: 'accept' } as const;
  const reject = { route_action: 'reject' } as const;
  const rules: Draft[] = [
    {
      concern: 'all',
      what: 'own',
      clause: { sets: [], conditions: { route_type: 'local' }, actions: accept },
    },
  ];
  const add = (
    what: string,
    prefixes: readonly string[],
    longer: number,
    actions: Clause['actions'],
  ): void => {
    for (const family of [4, 6] as const) {
      const set = prefixSet(prefixes, family, longer);
      if (set !== undefined)
        rules.push({
          concern: 'all',
          what: `${what}-${family}`,
          clause: { sets: [set], conditions: {}, actions },
        });
    }
  };
  add('own-block', own_blocks, 1, reject);
  // The longest pool of a route says whether it is told.
  const ordered = [...pools.values()].sort(
    (a, b) => splitPrefix(b.prefix).length - splitPrefix(a.prefix).length || (a.prefix < b.prefix ? -1 : 1),
  );
  for (const run of runsOf(ordered, ({ disable_bgp_export }) => disable_bgp_export)) {
    const off = run[0]?.disable_bgp_export === true;
    const prefixes = run.map(({ prefix }) => prefix);
    add(off ? 'pool-not-exported' : 'pool', prefixes, 0, off ? reject : accept);
  }
  add('reflected', reflected_prefixes, 0, accept);
  return rules;
}

/** All prefixes within these, from so many bits longer on. */
function prefixSet(prefixes: readonly string[], family: Family, longer: number): ClauseSet | undefined {
  const max = addressBits(family);
  const entries = [...new Set(prefixes)]
    .filter((prefix) => familyOf(prefix) === family && splitPrefix(prefix).length + longer <= max)
    .sort()
    .map((prefix) => ({
      ip_prefix: prefix,
      mask_length_min: splitPrefix(prefix).length + longer,
      mask_length_max: max,
    }));
  if (entries.length === 0) return undefined;
  return { condition: 'prefix_set', match: 'any', set: { defined_type: 'prefix', prefixes: entries } };
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
