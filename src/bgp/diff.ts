/**
 * What is to be done that gobgpd has what is wanted, in this order: peers that go, paths that go, policies, paths, peers. A route is never told by
 * policies that are not meant for it, and a peer that comes up is told all there is at once, which ends its graceful restart. Pure.
 */

import { type ExportRule, notTold, whatDiffers } from './export-rules.js';
import { isPrefix, type LocalPath, samePath } from './local-paths.js';
import type { Owed } from './owed.js';
import { type ActualPeer, peerChange, toldPeer } from './peer-state.js';
import type { WantedPeer } from './peers.js';
import type { BgpPlan } from './plan.js';
import {
  concernOf,
  type Direction,
  default_action,
  isFilter,
  leaving,
  policyName,
  type WantedPolicies,
} from './policies.js';

/** What gobgpd has beside own paths. */
export interface BgpState {
  readonly peers: ReadonlyMap<string, ActualPeer>;
  /** Names of the statements of the two policies, in order; undefined: there is no such policy. */
  readonly statements: Readonly<Record<Direction, readonly string[] | undefined>>;
  /** What `export` says of all peers; undefined: nothing that this program makes. */
  readonly rules: readonly ExportRule[] | undefined;
  /** The policies that are in force and what comes after them: `calico-export reject`. */
  readonly assigned: Readonly<Record<Direction, string>>;
  /** What it is still to take away from peers. */
  readonly owed: Owed;
}

export type BgpStep =
  | { readonly type: 'delete_peer'; readonly address: string; readonly comes_back: boolean }
  | { readonly type: 'delete_path'; readonly path: LocalPath }
  /** What these peers are told is noted, so that later is known what they were told and are not to be any more. */
  | { readonly type: 'note_told'; readonly addresses: readonly string[] }
  | { readonly type: 'set_policies'; readonly policies: WantedPolicies }
  | { readonly type: 'assign_policy'; readonly direction: Direction }
  | { readonly type: 'add_paths'; readonly paths: readonly LocalPath[] }
  /** By a gobgpd that does not withdraw what policies let out no more: these, and what peers were told that was noted. */
  | {
      readonly type: 'withdraw_rejected';
      readonly learned: readonly string[];
      readonly policies: WantedPolicies;
    }
  | { readonly type: 'add_peer'; readonly peer: WantedPeer }
  | { readonly type: 'update_peer'; readonly peer: WantedPeer; readonly ends_session: boolean }
  /** Routes of this peer are judged anew. */
  | { readonly type: 'judge_imports'; readonly address: string }
  /** What this peer is told is judged anew. */
  | { readonly type: 'judge_exports'; readonly address: string };

export interface DiffOptions {
  /** UpdatePeer leaves the session alone where it can, and else makes it anew: 3.15. */
  readonly updates: boolean;
  /** What a new policy does not let through is withdrawn: 4.6. */
  readonly withdraws: boolean;
  /** Own paths may be removed: all of what they are made of is known. */
  readonly may_withdraw: boolean;
  /** Prefixes of others that gobgpd has chosen: those that a rule of all may concern. */
  readonly learned: () => Iterable<string>;
  /** An earlier round has not come to withdraw what it was to withdraw. */
  readonly owed: boolean;
}

export function diffBgp(
  plan: Pick<BgpPlan, 'peers' | 'policies' | 'paths'>,
  state: BgpState,
  paths: ReadonlyMap<string, LocalPath>,
  { updates, withdraws, may_withdraw, learned, owed }: DiffOptions,
): readonly BgpStep[] {
  const gone: BgpStep[] = [];
  const changed: BgpStep[] = [];
  /** Peers whose session goes on. */
  const kept: string[] = [];
  for (const address of state.peers.keys())
    if (!plan.peers.has(address)) gone.push({ type: 'delete_peer', address, comes_back: false });
  for (const [address, wanted] of plan.peers) {
    const actual = state.peers.get(address);
    const peer = readable(wanted, actual);
    const change = peer === undefined ? 'none' : actual === undefined ? 'add' : peerChange(peer, actual);
    const lasts = change === 'none' || (updates && change === 'in_place');
    if (actual !== undefined && lasts) kept.push(address);
    if (peer === undefined || change === 'none') continue;
    if (actual === undefined) changed.push({ type: 'add_peer', peer });
    // For one that is deleted gobgpd tells the other end that it is no peer any more, upon which its routes are gone there.
    else if (updates) changed.push({ type: 'update_peer', peer, ends_session: !lasts });
    else {
      gone.push({ type: 'delete_peer', address, comes_back: true });
      changed.push({ type: 'add_peer', peer });
    }
  }
  const withdrawn = may_withdraw ? [...paths.values()].filter(({ prefix }) => !plan.paths.has(prefix)) : [];
  // Another node may have told the same: peers of this one are not to hear of that from here.
  const left =
    kept.length === 0
      ? []
      : notTold(
          plan.policies.rules,
          withdrawn.flatMap(({ prefix }) => (isPrefix(prefix) ? [prefix] : [])),
        );
  const added = [...plan.paths.values()].filter((path) => {
    const actual = paths.get(path.prefix);
    return actual === undefined || !samePath(actual, path);
  });
  /** What a rule of all may concern: routes of others, and own ones that stay. */
  const subject = () => [
    ...learned(),
    ...[...paths.keys()].filter((prefix) => plan.paths.has(prefix) && isPrefix(prefix)),
  ];
  const judged = judgements(plan.policies, state, kept, subject);
  const noted = withdraws ? [] : judged.filtered;
  const less = withdraws ? [] : judged.less;
  const retold = owed || noted.length > 0 || less.length > 0;
  return [
    ...gone,
    ...(noted.length > 0 ? [{ type: 'note_told', addresses: noted } as const] : []),
    ...(left.length > 0 ? [{ type: 'set_policies', policies: leaving(plan.policies, left) } as const] : []),
    ...withdrawn.map((path) => ({ type: 'delete_path', path }) as const),
    ...policySteps(plan.policies, state, left.length > 0),
    ...(retold ? [{ type: 'withdraw_rejected', learned: less, policies: plan.policies } as const] : []),
    ...(added.length > 0 ? [{ type: 'add_paths', paths: added } as const] : []),
    ...changed,
    ...judged.steps,
  ];
}

/** What gobgpd has when all steps of the plan are carried out. */
export function stateAfter(plan: Pick<BgpPlan, 'peers' | 'policies'>, before: BgpState): BgpState {
  const peers = [...plan.peers].flatMap(([address, wanted]) => {
    const peer = readable(wanted, before.peers.get(address));
    const has = peer === undefined ? before.peers.get(address) : toldPeer(peer);
    return has === undefined ? [] : [[address, has] as const];
  });
  return {
    peers: new Map(peers),
    statements: {
      import: statementsOf(plan.policies, 'import'),
      export: statementsOf(plan.policies, 'export'),
    },
    rules: plan.policies.rules,
    assigned: { import: assignmentOf('import'), export: assignmentOf('export') },
    owed: new Map(),
  };
}

/** A peer whose password nobody can read keeps the one that it has; without any it is left as it is, or not made yet: undefined. */
function readable(wanted: WantedPeer, actual: ActualPeer | undefined): WantedPeer | undefined {
  if (wanted.pending !== true) return wanted;
  if (actual === undefined || actual.password.is_empty) return undefined;
  const { pending: _, ...peer } = wanted;
  return { ...peer, password: actual.password };
}

function statementsOf(policies: WantedPolicies, direction: Direction): readonly string[] {
  const found = policies.policies.find(({ name }) => name === policyName(direction));
  return [...(found?.statements ?? [])].map(({ name }) => name);
}

const directions = ['import', 'export'] as const;

export const assignmentOf = (direction: Direction): string =>
  `${policyName(direction)} ${default_action[direction]}`;

function policySteps(
  policies: WantedPolicies,
  { statements, assigned }: BgpState,
  others_meanwhile: boolean,
): readonly BgpStep[] {
  const differ =
    others_meanwhile ||
    directions.some((direction) => !sameList(statementsOf(policies, direction), statements[direction]));
  return [
    ...(differ ? [{ type: 'set_policies', policies } as const] : []),
    ...directions
      .filter((direction) => assigned[direction] !== assignmentOf(direction))
      .map((direction) => ({ type: 'assign_policy', direction }) as const),
  ];
}

interface Judgements {
  readonly steps: readonly BgpStep[];
  /** Peers that other filters hold for than did, of what they are told. */
  readonly filtered: readonly string[];
  /** Routes of others that nobody is to be told any more. */
  readonly less: readonly string[];
}

/** GoBGP applies a policy to what comes and goes from then on: what went before is judged anew where the answer may be another. */
function judgements(
  policies: WantedPolicies,
  { statements, assigned, rules }: BgpState,
  kept: readonly string[],
  learned: () => Iterable<string>,
): Judgements {
  const of_all = kept.length === 0 ? { more: [], less: [] } : ofAll(policies, { statements, rules }, learned);
  const steps: BgpStep[] = [];
  const filtered: string[] = [];
  for (const direction of directions) {
    const before = byConcern(statements[direction] ?? []);
    const after = byConcern(statementsOf(policies, direction));
    const is_new = assigned[direction] !== assignmentOf(direction);
    const rules_differ =
      direction === 'export'
        ? of_all === 'unknown' || of_all.more.length + of_all.less.length > 0
        : !sameList(before.get('all') ?? [], after.get('all') ?? []);
    for (const address of kept) {
      const was = before.get(address) ?? [];
      const is = after.get(address) ?? [];
      if (direction === 'export' && !sameList(was.filter(isFilter), is.filter(isFilter)))
        filtered.push(address);
      if (!is_new && !rules_differ && sameList(was, is)) continue;
      steps.push({ type: direction === 'import' ? 'judge_imports' : 'judge_exports', address });
    }
  }
  return { steps, filtered, less: of_all === 'unknown' ? [] : of_all.less };
}

/** What another rule of all makes of routes of others: own ones are told after the policies, and withdrawn before. */
function ofAll(
  policies: WantedPolicies,
  { statements, rules }: Pick<BgpState, 'statements' | 'rules'>,
  learned: () => Iterable<string>,
): 'unknown' | ReturnType<typeof whatDiffers> {
  const before = byConcern(statements.export ?? []).get('all');
  if (sameList(byConcern(statementsOf(policies, 'export')).get('all') ?? [], before))
    return { more: [], less: [] };
  return rules === undefined ? 'unknown' : whatDiffers(rules, policies.rules, learned());
}

/** What statements say to each peer and to `all`, without where they stand. */
function byConcern(names: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const by_concern = new Map<string, string[]>();
  for (const name of names) {
    const concern = concernOf(name);
    const content = name.split(' ').toSpliced(2, 1).join(' ');
    const list = by_concern.get(concern);
    if (list === undefined) by_concern.set(concern, [content]);
    else list.push(content);
  }
  return by_concern;
}

function sameList(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((each, index) => each === b[index]);
}
