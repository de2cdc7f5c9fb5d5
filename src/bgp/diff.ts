/**
 * What is to be done that gobgpd has what is wanted, in this order: peers that go, paths that go, policies, paths, peers. A route is never told by
 * policies that are not meant for it, and a peer that comes up is told all there is at once, which ends its graceful restart. Pure.
 */
import type { LocalPath } from './local-paths.js';
import { samePath } from './local-paths.js';
import { type ActualPeer, peerChange } from './peer-state.js';
import type { WantedPeer } from './peers.js';
import type { BgpPlan } from './plan.js';
import {
  concernOf,
  type Direction,
  default_action,
  isFilter,
  policyName,
  type WantedPolicies,
} from './policies.js';

/** What gobgpd has. */
export interface BgpState {
  readonly peers: ReadonlyMap<string, ActualPeer>;
  /** Own ones, by prefix. */
  readonly paths: ReadonlyMap<string, LocalPath>;
  /** Names of the statements of the two policies, in order; undefined: there is no such policy. */
  readonly statements: Readonly<Record<Direction, readonly string[] | undefined>>;
  /** The policies that are in force and what comes after them: `calico-export reject`. */
  readonly assigned: Readonly<Record<Direction, string>>;
}

export type BgpStep =
  | { readonly type: 'delete_peer'; readonly address: string; readonly comes_back: boolean }
  | { readonly type: 'delete_path'; readonly path: LocalPath }
  | { readonly type: 'set_policies'; readonly policies: WantedPolicies }
  | { readonly type: 'assign_policy'; readonly direction: Direction }
  | { readonly type: 'add_paths'; readonly paths: readonly LocalPath[] }
  | { readonly type: 'add_peer'; readonly peer: WantedPeer }
  | { readonly type: 'update_peer'; readonly peer: WantedPeer }
  /** Routes of this peer are judged anew. */
  | { readonly type: 'judge_imports'; readonly address: string }
  /** What this peer is told is judged anew. */
  | { readonly type: 'judge_exports'; readonly address: string };

export interface DiffOptions {
  /** UpdatePeer leaves the session alone where it can: 3.15. */
  readonly updates: boolean;
  /** What a new policy does not let through is withdrawn: 4.6. Before, a peer whose filters have changed gets a new session. */
  readonly withdraws: boolean;
  /** Own paths may be removed: all of what they are made of is known. */
  readonly may_withdraw: boolean;
}

export function diffBgp(
  plan: Pick<BgpPlan, 'peers' | 'pending' | 'policies' | 'paths'>,
  state: BgpState,
  { updates, withdraws, may_withdraw }: DiffOptions,
): readonly BgpStep[] {
  const gone: BgpStep[] = [];
  const changed: BgpStep[] = [];
  /** Peers whose session goes on. */
  const kept: string[] = [];
  for (const address of state.peers.keys())
    if (!plan.peers.has(address) && !plan.pending.has(address))
      gone.push({ type: 'delete_peer', address, comes_back: false });
  for (const [address, peer] of plan.peers) {
    const actual = state.peers.get(address);
    const told_too_much = !withdraws && filtersDiffer(plan.policies, state, address);
    const change =
      actual === undefined ? 'add' : told_too_much ? 'replace' : peerChange(peer, actual, updates);
    if (change === 'replace') gone.push({ type: 'delete_peer', address, comes_back: true });
    if (change === 'update') changed.push({ type: 'update_peer', peer });
    else if (change !== 'none') changed.push({ type: 'add_peer', peer });
    if (change === 'none' || change === 'update') kept.push(address);
  }
  const withdrawn: BgpStep[] = [];
  if (may_withdraw)
    for (const [prefix, path] of state.paths)
      if (!plan.paths.has(prefix)) withdrawn.push({ type: 'delete_path', path });
  const added = [...plan.paths.values()].filter((path) => {
    const actual = state.paths.get(path.prefix);
    return actual === undefined || !samePath(actual, path);
  });
  const policies = policySteps(plan.policies, state);
  return [
    ...gone,
    ...withdrawn,
    ...policies,
    ...(added.length > 0 ? [{ type: 'add_paths', paths: added } as const] : []),
    ...changed,
    ...judgeSteps(plan.policies, state, kept),
  ];
}

function statementsOf(policies: WantedPolicies, direction: Direction): readonly string[] {
  const found = policies.policies.find(({ name }) => name === policyName(direction));
  return [...(found?.statements ?? [])].map(({ name }) => name);
}

const directions = ['import', 'export'] as const;

export const assignmentOf = (direction: Direction): string =>
  `${policyName(direction)} ${default_action[direction]}`;

function policySteps(policies: WantedPolicies, { statements, assigned }: BgpState): readonly BgpStep[] {
  const differ = directions.some(
    (direction) => !sameList(statementsOf(policies, direction), statements[direction]),
  );
  return [
    ...(differ ? [{ type: 'set_policies', policies } as const] : []),
    ...directions
      .filter((direction) => assigned[direction] !== assignmentOf(direction))
      .map((direction) => ({ type: 'assign_policy', direction }) as const),
  ];
}

/** GoBGP applies a policy to what comes and goes from then on: what went before is judged anew where the answer may be another. */
function judgeSteps(
  policies: WantedPolicies,
  { statements, assigned }: BgpState,
  kept: readonly string[],
): readonly BgpStep[] {
  return directions.flatMap((direction) => {
    const before = statements[direction] ?? [];
    const after = statementsOf(policies, direction);
    const is_new = assigned[direction] !== assignmentOf(direction);
    return kept.flatMap((address): readonly BgpStep[] => {
      if (!is_new && sameList(concerning(before, address), concerning(after, address))) return [];
      return [{ type: direction === 'import' ? 'judge_imports' : 'judge_exports', address }];
    });
  });
}

/** What statements say to this peer, without where they stand among those of others. */
function concerning(names: readonly string[], address: string): readonly string[] {
  return names
    .filter((name) => ['all', address].includes(concernOf(name)))
    .map((name) => name.split(' ').toSpliced(2, 1).join(' '));
}

/** Whether other filters hold for what this peer is told. */
function filtersDiffer(policies: WantedPolicies, { statements }: BgpState, address: string): boolean {
  const before = filtersFor(statements.export ?? [], address);
  return !sameList(before, filtersFor(statementsOf(policies, 'export'), address));
}

function filtersFor(names: readonly string[], address: string): readonly string[] {
  return concerning(names, address).filter((name) => isFilter(name));
}

function sameList(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((each, index) => each === b[index]);
}
