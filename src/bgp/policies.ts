/**
 * The two policies, `export` and `import`, as a whole: what they say of a peer, and of all. Pure.
 *
 * A statement's name says where it stands and, by a hash, what it says: whether gobgpd has these policies is seen by the names alone.
 */
import { createHash } from 'node:crypto';
import {
  type ConditionsInput,
  type DefinedSetInput,
  families,
  type PolicyInput,
  type StatementInput,
} from 'gobgp-grpc-stubs';
import type { BgpFilter } from '../calico/kinds/bgp-filter.js';
import { splitPrefix } from '../ip/prefix.js';
import { addressBits, familyOf } from '../ip/text.js';
import { type ExportInputs, type ExportRule, exportRules } from './export-rules.js';
import { type Clause, type ClauseSet, filterClauses, rejectAll } from './filter-rules.js';
import type { WantedPeer } from './peers.js';
import type { Troubles } from './troubles.js';

export type Direction = 'import' | 'export';

export interface WantedPolicies {
  readonly sets: readonly DefinedSetInput[];
  readonly policies: readonly PolicyInput[];
  /** What `export` says of all peers; a part of the above. */
  readonly rules: readonly ExportRule[];
}

export interface PoliciesInputs extends ExportInputs {
  readonly peers: ReadonlyMap<string, WantedPeer>;
  readonly filters: ReadonlyMap<string, BgpFilter>;
  readonly compares_local_pref: boolean;
  /** Absent: none are told. */
  readonly sr_policies?: 'own' | 'all';
  /** Likewise, of networks beside the default one. */
  readonly networks?: 'own' | 'all';
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
  const rules = exportRules(inputs);
  const policies = (['import', 'export'] as const).map((direction) => {
    const drafts = [...inputs.peers.values()].flatMap((peer) => [
      ...(direction === 'export' ? nextHopDrafts(peer) : []),
      ...filterDrafts(peer, direction, inputs, troubles),
    ]);
    if (direction === 'export')
      drafts.push(...srDrafts(inputs), ...networkDrafts(inputs), ...ruleDrafts(rules));
    return policy(direction, drafts, sets);
  });
  return { sets, policies, rules };
}

function policy(direction: Direction, drafts: readonly Draft[], sets: DefinedSetInput[]): PolicyInput {
  const statements = drafts.map(({ concern, what, clause }, index): StatementInput => {
    const content = createHash('sha256').update(JSON.stringify(clause)).digest('hex').slice(0, 12);
    const name = `${direction} ${concern} ${index} ${what} ${content}`;
    const own_sets =
      concern === 'all' || concern === sr_concern ? clause.sets : [neighbour(concern), ...clause.sets];
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

/** Of a statement that is for no peer, and for no prefix. */
const sr_concern = 'sr-policies';

/** SR policies have no prefix by which a rule could know them. Those of others are for who reflects routes to tell. */
function srDrafts({ sr_policies }: PoliciesInputs): readonly Draft[] {
  if (sr_policies === undefined) return [];
  const conditions = {
    afi_safi_in: [families.ipv6_sr_policy],
    ...(sr_policies === 'own' && { route_type: 'local' as const }),
  };
  return [
    {
      concern: sr_concern,
      what: sr_policies,
      clause: { sets: [], conditions, actions: { route_action: 'accept' } },
    },
  ];
}

/** Addresses of one network are those of another: no rule of the default one judges them. */
function networkDrafts({ networks }: PoliciesInputs): readonly Draft[] {
  if (networks === undefined) return [];
  const conditions = {
    afi_safi_in: [families.ipv4_vpn, families.ipv6_vpn],
    ...(networks === 'own' && { route_type: 'local' as const }),
  };
  const clause = { sets: [], conditions, actions: { route_action: 'accept' } } as const;
  return [{ concern: sr_concern, what: `networks-${networks}`, clause }];
}

/** The rules of all, as statements. */
function ruleDrafts(rules: readonly ExportRule[]): readonly Draft[] {
  return rules.map(({ what, action, entries }) => ({
    concern: 'all',
    what,
    clause: {
      sets: [
        {
          condition: 'prefix_set',
          match: 'any',
          set: {
            defined_type: 'prefix',
            prefixes: entries.map(({ prefix, min, max }) => ({
              ip_prefix: prefix,
              mask_length_min: min,
              mask_length_max: max,
            })),
          },
        },
      ],
      conditions: {},
      actions: { route_action: action },
    },
  }));
}

/** The rules of all, of what gobgpd tells of its statements and sets; undefined: it has others than this program makes. */
export function rulesOf(
  statements: readonly Pick<StatementInput, 'name' | 'conditions' | 'actions'>[],
  sets: readonly Pick<DefinedSetInput, 'name' | 'prefixes'>[],
): readonly ExportRule[] | undefined {
  const by_name = new Map(sets.map((set) => [set.name, set]));
  const rules = statements
    .filter(({ name }) => concernOf(name ?? '') === 'all')
    .map(({ name, conditions, actions }): ExportRule | undefined => {
      const prefixes = by_name.get(conditions?.prefix_set?.name ?? '')?.prefixes;
      const action = actions?.route_action;
      if (prefixes === undefined || (action !== 'accept' && action !== 'reject')) return undefined;
      const entries = [...prefixes].map(({ ip_prefix, mask_length_min: min, mask_length_max: max }) => ({
        prefix: ip_prefix,
        min,
        max,
      }));
      return { what: (name ?? '').split(' ')[3] ?? '', action, entries };
    });
  return rules.every((rule) => rule !== undefined) ? rules : undefined;
}

/**
 * The same policies, by which what is told of these prefixes is this node's own path alone. With them in force it is deleted: gobgpd withdraws a path for
 * which it may tell no other, if that path itself may be told. Else it would tell another's in its place, or say nothing, and be believed for good.
 */
export function leaving(
  { sets, policies, rules }: WantedPolicies,
  prefixes: readonly string[],
): WantedPolicies {
  const made = prefixStatements('export all leaving', prefixes, { route_type: 'local' }, 'accept');
  const withOwn = (statements: readonly StatementInput[]): readonly StatementInput[] => {
    const first = statements.findIndex(({ name }) => concernOf(name ?? '') === 'all');
    return statements.toSpliced(first < 0 ? statements.length : first, 0, ...made.statements);
  };
  return {
    sets: [...sets, ...made.sets],
    policies: policies.map((policy) =>
      policy.name === policyName('export')
        ? { ...policy, statements: withOwn([...(policy.statements ?? [])]) }
        : policy,
    ),
    rules,
  };
}

/** The same policies, by which nothing of these prefixes comes in meanwhile: what is rejected is withdrawn from everybody. */
export function without(
  { sets, policies, rules }: WantedPolicies,
  prefixes: readonly string[],
): WantedPolicies {
  const made = prefixStatements('import all withheld', prefixes, {}, 'reject');
  return {
    sets: [...sets, ...made.sets],
    policies: policies.map((policy) =>
      policy.name === policyName('import')
        ? { ...policy, statements: [...made.statements, ...(policy.statements ?? [])] }
        : policy,
    ),
    rules,
  };
}

/** What is done with these prefixes, by family: none other than they themselves. */
function prefixStatements(
  what: string,
  prefixes: readonly string[],
  conditions: ConditionsInput,
  route_action: 'accept' | 'reject',
): { readonly sets: readonly DefinedSetInput[]; readonly statements: readonly StatementInput[] } {
  const sets: DefinedSetInput[] = [];
  const statements = ([4, 6] as const).flatMap((family): StatementInput[] => {
    const name = `${what}-${family}`;
    const set = prefixes
      .filter((prefix) => familyOf(prefix) === family)
      .map((prefix) => {
        const { length } = splitPrefix(prefix);
        return { ip_prefix: prefix, mask_length_min: length, mask_length_max: length };
      });
    if (set.length === 0) return [];
    sets.push({ defined_type: 'prefix', name, prefixes: set });
    return [
      { name, conditions: { ...conditions, prefix_set: { type: 'any', name } }, actions: { route_action } },
    ];
  });
  return { sets, statements };
}
