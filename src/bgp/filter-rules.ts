/** BGPFilters as statements of GoBGP's policies. Pure. */
import type { ActionsInput, ConditionsInput, DefinedSetInput } from 'gobgp-grpc-stubs';
import type { BgpFilter, FilterRule } from '../calico/kinds/bgp-filter.js';
import { priority_max } from '../calico/kinds/kind.js';
import { splitPrefix } from '../ip/prefix.js';
import { addressBits, type Family } from '../ip/text.js';

/** A statement and the sets that it alone refers to. Its names are given later: they say where it stands and what it says. */
export interface Clause {
  /** What the names of its sets begin with is filled in. */
  readonly sets: readonly ClauseSet[];
  readonly conditions: Omit<
    ConditionsInput,
    'prefix_set' | 'neighbor_set' | 'as_path_set' | 'community_set' | 'large_community_set'
  >;
  readonly actions: ActionsInput;
}

export interface ClauseSet {
  readonly condition: 'prefix_set' | 'neighbor_set' | 'as_path_set' | 'community_set' | 'large_community_set';
  readonly match: 'any' | 'invert';
  readonly set: Omit<DefinedSetInput, 'name'>;
}

export interface FilterContext {
  readonly direction: 'import' | 'export';
  /** Of the session, and so of all its routes. */
  readonly family: Family;
  /** The AS of this end and of the other are the same. */
  readonly internal: boolean;
  readonly local_as: number;
  /** The gobgpd compares LOCAL_PREF: 4.x. */
  readonly compares_local_pref: boolean;
  /** Notes what is not supported, with its place in the filter. */
  fault(place: string, cause: string): void;
}

/** Priorities are metrics of Linux' routes, the lower the better; LOCAL_PREF is the other way round. As Calico's BIRD does it. */
export const localPrefOf = (priority: number): number => priority_max + 1 - priority;

export const rejectAll: Clause = { sets: [], conditions: {}, actions: { route_action: 'reject' } };

/** A filter's rules for one session. A rule that cannot be told to this gobgpd makes the whole filter reject: it may have been one that rejects. */
export function filterClauses(filter: BgpFilter, context: FilterContext): readonly Clause[] {
  const field = `${context.direction}V${context.family}` as const;
  const rules = {
    importV4: filter.import4,
    importV6: filter.import6,
    exportV4: filter.export4,
    exportV6: filter.export6,
  }[field];
  const clauses: Clause[] = [];
  for (const [index, rule] of rules.entries()) {
    const place = `spec.${field}[${index}]`;
    if (rule.priority !== undefined && !context.compares_local_pref) {
      context.fault(`${place}.priority`, 'needs gobgpd 4: all routes that come to this filter are rejected');
      return [...clauses, rejectAll];
    }
    if (rule.interface !== undefined) {
      context.fault(
        `${place}.interface`,
        'is not supported: no route here has an interface, the rule fits none',
      );
      continue;
    }
    const made = ruleClauses(rule, context);
    const foreign = rule.operations
      .flatMap((each) => ('prepend_as_path' in each ? each.prepend_as_path : []))
      .find((asn) => asn !== context.local_as);
    if (made.length > 0 && foreign !== undefined && context.direction === 'export' && !context.internal)
      context.fault(
        `${place}.operations`,
        `${foreign} comes before this node's AS, not behind it: routers that look at the first AS refuse the route`,
      );
    clauses.push(...made);
  }
  return clauses;
}

function ruleClauses(rule: FilterRule, context: FilterContext): readonly Clause[] {
  if (rule.peer_type !== undefined && (rule.peer_type === 'iBGP') !== context.internal) return [];
  const prefixes = prefixSet(rule, context.family);
  if (prefixes === 'never') return [];
  // Each of these is a condition by itself; of the alternatives one has to hold, which takes a statement for each.
  const sources: readonly ConditionsInput[] =
    rule.source === 'RemotePeers' && context.direction === 'export'
      ? [{ route_type: 'internal' }, { route_type: 'external' }]
      : [{}];
  const communities = communitySets(rule.communities);
  const priority: ConditionsInput =
    rule.priority === undefined ? {} : { local_pref_eq: { value: localPrefOf(rule.priority) } };
  return sources.flatMap((source) =>
    communities.flatMap((community) =>
      steps(rule).map(({ prepended, actions }): Clause => {
        const sets = [prefixes, community, asPathSet(rule, context, prepended)].filter(
          (set) => set !== undefined,
        );
        return { sets, conditions: { ...source, ...priority }, actions };
      }),
    ),
  );
}

/** The prefixes that the rule is for; undefined: all; never: none. */
function prefixSet(
  { prefix, operator, length_min, length_max }: FilterRule,
  family: Family,
): ClauseSet | undefined | 'never' {
  if (prefix === undefined) return undefined;
  const { length } = splitPrefix(prefix);
  const exact = operator === 'Equal' || operator === 'NotEqual';
  const negated = operator === 'NotEqual' || operator === 'NotIn';
  const min = Math.max(length, length_min ?? length);
  const max = Math.min(exact ? length : addressBits(family), length_max ?? addressBits(family));
  if (min > max) return negated ? undefined : 'never';
  return {
    condition: 'prefix_set',
    match: negated ? 'invert' : 'any',
    set: {
      defined_type: 'prefix',
      prefixes: [{ ip_prefix: prefix, mask_length_min: min, mask_length_max: max }],
    },
  };
}

/** One of the communities; those of the two kinds are asked for apart. */
function communitySets(communities: readonly string[]): readonly (ClauseSet | undefined)[] {
  if (communities.length === 0) return [undefined];
  const large = communities.filter(isLarge);
  const standard = communities.filter((community) => !isLarge(community));
  const exactly = (list: readonly string[]) => list.map((community) => `^${community}$`);
  return [
    ...(standard.length === 0
      ? []
      : [
          {
            condition: 'community_set',
            match: 'any',
            set: { defined_type: 'community', list: exactly(standard) },
          } as const,
        ]),
    ...(large.length === 0
      ? []
      : [
          {
            condition: 'large_community_set',
            match: 'any',
            set: { defined_type: 'large_community', list: exactly(large) },
          } as const,
        ]),
  ];
}

export const isLarge = (community: string): boolean => community.split(':').length === 3;

/** The beginning of the AS path. Towards another AS a route has this end's own in front by the time that GoBGP asks. */
function asPathSet(
  { as_path_prefix }: FilterRule,
  { direction, internal, local_as }: FilterContext,
  prepended: readonly number[],
): ClauseSet | undefined {
  if (as_path_prefix.length === 0) return undefined;
  const own = direction === 'export' && !internal ? [local_as] : [];
  const path = [...prepended, ...own, ...as_path_prefix];
  return {
    condition: 'as_path_set',
    match: 'any',
    set: { defined_type: 'as_path', list: [`^${path.map((asn) => `${asn}_`).join('')}`] },
  };
}

interface Step {
  /** What the steps before have put in front of the AS path. */
  readonly prepended: readonly number[];
  readonly actions: ActionsInput;
}

/** A statement prepends one AS, as often as is asked for: a path of several takes several, the last of which decides. */
function steps({ operations, action }: FilterRule): readonly Step[] {
  const communities = operations.flatMap((each) => ('add_community' in each ? [each.add_community] : []));
  const priority = operations.flatMap((each) => ('set_priority' in each ? [each.set_priority] : [])).at(-1);
  const prepend = operations.flatMap((each) => ('prepend_as_path' in each ? each.prepend_as_path : []));
  const standard = communities.filter((each) => !isLarge(each));
  const large = communities.filter(isLarge);
  const last: ActionsInput = {
    route_action: action === 'Accept' ? 'accept' : 'reject',
    ...(standard.length > 0 && { community: { type: 'add', communities: standard } }),
    ...(large.length > 0 && { large_community: { type: 'add', communities: large } }),
    ...(priority !== undefined && { local_pref: { value: localPrefOf(priority) } }),
  };
  const runs: { asn: number; repeat: number }[] = [];
  for (const asn of [...prepend].reverse()) {
    const run = runs.at(-1);
    if (run?.asn === asn) run.repeat += 1;
    else runs.push({ asn, repeat: 1 });
  }
  if (runs.length === 0) return [{ prepended: [], actions: last }];
  let prepended: readonly number[] = [];
  return runs.map((run, index) => {
    const step: Step = {
      prepended,
      actions: { ...(index === runs.length - 1 && last), as_prepend: run },
    };
    prepended = [...Array<number>(run.repeat).fill(run.asn), ...prepended];
    return step;
  });
}
