/**
 * Tiers for npol, which has none: a list of policies, one of profiles, and `pass` that leads from the one to the other. Exact, and without
 * copying rules as long as at most one tier hands some of its flows on; what is left is multiplied out, up to a limit.
 */
import { createHash } from 'node:crypto';
import { type Default, isUnconditional, type NpolPolicy, type NpolRule } from '../objects/npol.js';
import { both, fitting } from './match.js';
import { allow_all, deny_all } from './translate.js';

export type Direction = 'rx' | 'tx';

/** A tier in one direction: policies that are enforced, in order, at least one. */
export interface TierPolicies {
  readonly policies: readonly NpolPolicy[];
  /** What becomes of a flow that none of their rules has matched. */
  readonly end: 'deny' | 'pass';
}

/** What comes behind the last tier. */
export type After = { readonly profiles: readonly NpolPolicy[] } | 'allow';

export interface CompiledTiers {
  readonly policies: readonly NpolPolicy[];
  readonly policy_default: Default;
  readonly profile_default: 'allow' | 'deny';
  /** In front of the profiles; of this direction alone, and with an end for every flow. */
  readonly composite?: NpolPolicy;
}

/** Rules that one composite may have. */
export const composite_rules_max = 4096;
/**
 * Pairs of rules that are looked at for one, of which few may have a flow in common: some tenths of a second, once for all endpoints with the same tiers.
 * Rules with many nets count as more.
 */
export const composite_pairs_max = 200_000;
/** So many nets that are compared cost as much as what else a pair does. */
const nets_of_pair = 10;

const netsOf = ({ match: { src, dst } }: NpolRule): number => src.nets.length + dst.nets.length;

interface Segment {
  readonly policies: readonly NpolPolicy[];
  /** Some of its rules, none of which matches everything, hand on. */
  readonly passes: boolean;
  readonly end: 'deny' | 'pass';
}

/** Undefined: it would need too many rules. */
export function compileTiers(
  tiers: readonly TierPolicies[],
  after: After,
  direction: Direction,
): CompiledTiers | undefined {
  const profile_default = after === 'allow' ? 'allow' : 'deny';
  const [first, ...more] = segmentsOf(tiers, direction);
  if (first === undefined) return { policies: [], policy_default: 'pass', profile_default };
  const compiled = { policies: first.policies, policy_default: first.end, profile_default } as const;
  // One tier, or several that are as one: what it hands on goes to the profiles by itself.
  if (more.length === 0) return compiled;
  const rules = flatOnce(more, after, direction);
  if (rules === undefined) return undefined;
  return { ...compiled, composite: onlyIn(direction, nameOf(more, after, direction), rules) };
}

/** Tiers of which each but the last hands on some of its flows. */
function segmentsOf(tiers: readonly TierPolicies[], direction: Direction): Segment[] {
  const segments: Segment[] = [];
  /** Of tiers before, which hand on all that they do not decide: they are as if they stood in the next. */
  let open: readonly NpolPolicy[] = [];
  for (const tier of tiers) {
    const { policies, passes, end } = reached(tier, direction);
    const all = [...open, ...policies];
    open = [];
    if (passes) segments.push({ policies: all, passes, end });
    else if (end === 'pass') open = all;
    else return [...segments, { policies: all, passes, end }];
  }
  if (open.length > 0) segments.push({ policies: open, passes: false, end: 'pass' });
  return segments;
}

/** The policies up to the first rule that matches everything. One that hands everything on is the end of the tier. */
function reached({ policies, end }: TierPolicies, direction: Direction): Segment {
  const there: NpolPolicy[] = [];
  let last: NpolRule | undefined;
  let passes = false;
  for (const policy of policies) {
    const rules = policy[direction];
    last = rules.at(-1);
    if (last === undefined || !isUnconditional(last.match)) last = undefined;
    const handed_on = last?.action === 'pass';
    const conditional = last === undefined ? rules : rules.slice(0, -1);
    passes ||= conditional.some(({ action }) => action === 'pass');
    there.push(handed_on ? withoutEnd(policy, direction, conditional) : policy);
    if (last !== undefined) break;
  }
  return {
    policies: there,
    passes,
    end: last === undefined ? end : last.action === 'pass' ? 'pass' : 'deny',
  };
}

const without_end = { rx: new WeakMap<NpolPolicy, NpolPolicy>(), tx: new WeakMap<NpolPolicy, NpolPolicy>() };

/** The same policy for all endpoints. */
function withoutEnd(policy: NpolPolicy, direction: Direction, conditional: readonly NpolRule[]): NpolPolicy {
  const known = without_end[direction].get(policy);
  if (known !== undefined) return known;
  const made = onlyIn(direction, `${policy.name} ${direction} without its end`, conditional);
  without_end[direction].set(policy, made);
  return made;
}

/** What was multiplied out last of tiers whose first policy is this one. */
interface Flat {
  readonly from: readonly unknown[];
  readonly rules: readonly NpolRule[] | undefined;
}

const last_flat = { rx: new WeakMap<NpolPolicy, Flat>(), tx: new WeakMap<NpolPolicy, Flat>() };

/** Endpoints with the same tiers are compiled one after the other. */
function flatOnce(
  segments: readonly Segment[],
  after: After,
  direction: Direction,
): readonly NpolRule[] | undefined {
  const from = [
    ...segments.flatMap(({ policies, passes, end }) => [...policies, passes, end]),
    ...(after === 'allow' ? [after] : after.profiles),
  ];
  const first = segments[0]!.policies[0]!;
  const known = last_flat[direction].get(first);
  if (known?.from.length === from.length && known.from.every((part, at) => part === from[at]))
    return known.rules;
  const rules = flat(segments, after, direction);
  last_flat[direction].set(first, { from, rules });
  return rules;
}

/** Rules without `pass` that decide as these tiers and what is behind them, every flow. Undefined: too many. */
function flat(
  segments: readonly Segment[],
  after: After,
  direction: Direction,
): readonly NpolRule[] | undefined {
  const [first, ...more] = segments;
  if (first === undefined) return after === 'allow' ? [allow_all] : profileRules(after.profiles, direction);
  const { policies, passes, end } = first;
  const rest = passes || end === 'pass' ? flat(more, after, direction) : [];
  if (rest === undefined) return undefined;
  const rules: NpolRule[] = [];
  let pairs = 0;
  for (const rule of policies.flatMap((policy) => policy[direction])) {
    if (rule.action !== 'pass') rules.push(rule);
    else
      for (const next of rest) {
        pairs += 1 + (netsOf(rule) + netsOf(next)) / nets_of_pair;
        if (pairs > composite_pairs_max) return undefined;
        const match = both(rule.match, next.match);
        if (match !== undefined)
          rules.push(...fitting(match).map((match) => ({ action: next.action, match })));
      }
    if (rules.length > composite_rules_max) return undefined;
  }
  if (end === 'pass') for (const rule of rest) rules.push(rule);
  else rules.push(deny_all);
  return rules.length > composite_rules_max ? undefined : upToEnd(rules);
}

/** No rule of a profile hands flows on. */
function profileRules(profiles: readonly NpolPolicy[], direction: Direction): readonly NpolRule[] {
  return upToEnd([...profiles.flatMap((profile) => profile[direction]), deny_all]);
}

function upToEnd(rules: readonly NpolRule[]): readonly NpolRule[] {
  const end = rules.findIndex(({ match }) => isUnconditional(match));
  return end < 0 ? rules : rules.slice(0, end + 1);
}

function onlyIn(direction: Direction, name: string, rules: readonly NpolRule[]): NpolPolicy {
  return direction === 'rx' ? { name, rx: rules, tx: [] } : { name, rx: [], tx: rules };
}

/** By what it is made of, so that it is the same policy when a rule in it changes, and the same for endpoints with the same tiers. */
function nameOf(segments: readonly Segment[], after: After, direction: Direction): string {
  const parts = segments.map(({ policies, end }) => [policies.map(({ name }) => name), end]);
  const behind = after === 'allow' ? 'allow' : after.profiles.map(({ name }) => name);
  const hash = createHash('sha256')
    .update(JSON.stringify([parts, behind]))
    .digest('base64url');
  return `tiers ${direction} ${hash.slice(0, 22)}`;
}
