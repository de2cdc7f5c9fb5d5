/** What is done is done by gobgpd's calls, and what it has is read by them. A call that fails costs its own object. */
import { type DefinedSet, families, type Gobgp, MalformedError, RefusedError } from 'gobgp-grpc-stubs';
import { familyOf } from '../ip/text.js';
import type { BgpState, BgpStep } from './diff.js';
import { type LocalPath, localPathOf, pathMessage, prefixOf } from './local-paths.js';
import { vpn_family } from './network-paths.js';
import { owedOf, withOwed } from './owed.js';
import { type ActualPeer, actualPeer, peerMessage } from './peer-state.js';
import {
  type Direction,
  default_action,
  policyName,
  rulesOf,
  type WantedPolicies,
  without,
} from './policies.js';

/** A list of thousands takes its time; a gobgpd that hangs takes for ever. */
const list_ms = 30_000;
/** What gobgpd takes for policies, and for each statement more: a thousand peers with filters have tens of thousands. */
const policies_ms = 10_000;
const statement_ms = 5;
const policies_ms_max = 120_000;

export interface StepFailure {
  /** `peer 10.0.0.2`, `path 10.1.0.0/24`, `policies`. */
  readonly of: string;
  readonly reason: string;
}

export async function readPeers(gobgp: Gobgp, signal: AbortSignal): Promise<ReadonlyMap<string, ActualPeer>> {
  const peers = new Map<string, ActualPeer>();
  for await (const { peer } of gobgp.listPeer({}, { signal, deadline_ms: list_ms })) {
    const actual = actualPeer(peer);
    if (actual !== undefined) peers.set(actual.address, actual);
  }
  return peers;
}

export async function readPolicies(gobgp: Gobgp, signal: AbortSignal): Promise<Omit<BgpState, 'peers'>> {
  const statements: Record<Direction, readonly string[] | undefined> = {
    import: undefined,
    export: undefined,
  };
  const assigned: Record<Direction, string> = { import: '', export: '' };
  const sets: DefinedSet[] = [];
  for await (const { defined_set } of gobgp.listDefinedSet(
    { defined_type: 'prefix' },
    { signal, deadline_ms: list_ms },
  ))
    sets.push(defined_set);
  let rules: BgpState['rules'];
  for await (const { policy } of gobgp.listPolicy({}, { signal, deadline_ms: list_ms }))
    for (const direction of ['import', 'export'] as const)
      if (policy.name === policyName(direction)) {
        statements[direction] = policy.statements.map(({ name }) => name);
        if (direction === 'export') rules = rulesOf(policy.statements, sets);
      }
  for (const direction of ['import', 'export'] as const)
    for await (const { assignment } of gobgp.listPolicyAssignment(
      { name: 'global', direction },
      { signal, deadline_ms: list_ms },
    ))
      if (assignment.direction === direction)
        assigned[direction] = [
          ...assignment.policies.map(({ name }) => name),
          assignment.default_action,
        ].join(' ');
  return { statements, rules, assigned, owed: owedOf(sets) };
}

const own_families = [
  families.ipv4_unicast,
  families.ipv6_unicast,
  families.ipv6_sr_policy,
  families.ipv4_vpn,
  families.ipv6_vpn,
];

/** Own paths that gobgpd has, the best of their prefix or not. */
export async function readPaths(gobgp: Gobgp, signal: AbortSignal): Promise<Map<string, LocalPath>> {
  const paths = new Map<string, LocalPath>();
  for (const family of own_families)
    for await (const { destination } of gobgp.listPath({ family }, { signal, deadline_ms: list_ms }))
      for (const path of destination.paths) {
        const own = path.neighbor_ip === '' ? localPathOf(path) : undefined;
        if (own !== undefined) paths.set(own.prefix, own);
      }
  return paths;
}

/** Prefixes that a peer is told, by the policies that are in force now. */
async function readTold(gobgp: Gobgp, address: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const told = new Set<string>();
  const family = familyOf(address) === 4 ? families.ipv4_unicast : families.ipv6_unicast;
  for await (const { destination } of gobgp.listPath(
    { table_type: 'adj_out', name: address, family },
    { signal, deadline_ms: list_ms },
  ))
    for (const path of destination.paths) {
      const prefix = prefixOf(path);
      if (prefix !== undefined) told.add(prefix);
    }
  return told;
}

export interface ApplyOptions {
  readonly signal: AbortSignal;
  /** Peers that are told of a restart; see peerMessage. */
  readonly restarting: (address: string) => boolean;
  /** Own paths that gobgpd has; kept true. */
  readonly paths: Map<string, LocalPath>;
  /** What peers were told by policies that hold no more, by address, and is still to be withdrawn where it is told no more. */
  readonly noted: Map<string, ReadonlySet<string>>;
  /** Routes of all peers go and come back: they hold meanwhile. */
  readonly hold: (addresses: readonly string[]) => void;
}

/**
 * Carries the steps out, in order. What is refused is told, and the rest goes on, but for what would let routes pass that no policy has judged:
 * without the policies nothing is told and nobody is peered with. Rejects when gobgpd gives no answer, or is gone.
 */
export async function applySteps(
  gobgp: Gobgp,
  steps: readonly BgpStep[],
  options: ApplyOptions,
): Promise<readonly StepFailure[]> {
  const failures: StepFailure[] = [];
  for (const step of steps) if (step.type === 'withdraw_rejected') note(options.noted, 'all', step.learned);
  for (const step of steps) {
    if (options.signal.aborted) break;
    if (failures.some(({ of }) => of === policies_failed) && isJudged(step)) continue;
    if (step.type === 'add_paths') failures.push(...(await addPaths(gobgp, step.paths, options)));
    else
      await carryOut(gobgp, step, options).catch((error: Error) => {
        if (!isOfOne(error)) throw error;
        failures.push({ of: subject(step), reason: error.message });
      });
  }
  return failures;
}

/** What a failure concerns without which no route is judged. */
export const policies_failed = 'policies';

function note(noted: ApplyOptions['noted'], to: string, prefixes: readonly string[]): void {
  if (prefixes.length > 0) noted.set(to, new Set([...(noted.get(to) ?? []), ...prefixes]));
}

const isJudged = ({ type }: BgpStep): boolean => type !== 'delete_peer' && type !== 'delete_path';

/** It says something of what was asked, and nothing of gobgpd. */
const isOfOne = (error: unknown): boolean => error instanceof RefusedError || error instanceof MalformedError;

function subject(step: BgpStep): string {
  switch (step.type) {
    case 'add_peer':
    case 'update_peer':
      return `peer ${step.peer.address}`;
    case 'note_told':
      return `peer ${step.addresses[0]}`;
    case 'delete_peer':
    case 'judge_imports':
    case 'judge_exports':
      return `peer ${step.address}`;
    case 'delete_path':
      return `path ${step.path.prefix}`;
    case 'withdraw_rejected':
      return 'withdrawals';
    default:
      return policies_failed;
  }
}

async function carryOut(
  gobgp: Gobgp,
  step: Exclude<BgpStep, { type: 'add_paths' }>,
  options: ApplyOptions,
): Promise<void> {
  const { signal, restarting, paths, noted } = options;
  switch (step.type) {
    case 'delete_peer':
      await gobgp.deletePeer({ address: step.address }, { signal });
      return;
    case 'delete_path':
      await gobgp.deletePath({ family: familyOfPath(step.path), path: pathMessage(step.path) }, { signal });
      paths.delete(step.path.prefix);
      return;
    case 'note_told':
      for (const address of step.addresses)
        if (!noted.has(address)) noted.set(address, await readTold(gobgp, address, signal));
      return;
    case 'set_policies':
      await setPolicies(gobgp, withOwed(step.policies, noted), signal);
      return;
    case 'withdraw_rejected':
      await withdrawRejected(gobgp, step, options);
      return;
    case 'assign_policy': {
      const { direction } = step;
      await gobgp.setPolicyAssignment(
        {
          assignment: {
            name: 'global',
            direction,
            policies: [{ name: policyName(direction) }],
            default_action: default_action[direction],
          },
        },
        { signal },
      );
      return;
    }
    case 'add_peer':
      await gobgp.addPeer({ peer: peerMessage(step.peer, restarting(step.peer.address)) }, { signal });
      return;
    case 'update_peer':
      await gobgp.updatePeer({ peer: peerMessage(step.peer, false) }, { signal });
      return;
    case 'judge_imports':
      await gobgp.resetPeer({ address: step.address, soft: true, direction: 'in' }, { signal });
      return;
    case 'judge_exports':
      await gobgp.resetPeer({ address: step.address, soft: true, direction: 'out' }, { signal });
      return;
  }
}

async function setPolicies(
  gobgp: Gobgp,
  { sets, policies }: WantedPolicies,
  signal: AbortSignal,
): Promise<void> {
  const statements = policies.reduce((sum, policy) => sum + (policy.statements?.length ?? 0), 0);
  const deadline_ms = Math.min(policies_ms + statements * statement_ms, policies_ms_max);
  await gobgp.setPolicies({ defined_sets: sets, policies }, { signal, deadline_ms });
}

/**
 * What a policy lets out no more is withdrawn, by a gobgpd that does not do so itself: a withdrawal passes every policy, so that the route is taken away
 * from all, and given again to those who are still to have it. Own paths are deleted and added; those of others are not let in for a moment.
 */
async function withdrawRejected(
  gobgp: Gobgp,
  { policies }: Extract<BgpStep, { type: 'withdraw_rejected' }>,
  { signal, paths, noted, hold }: ApplyOptions,
): Promise<void> {
  const rejected = new Set(noted.get('all'));
  const peers = await readPeers(gobgp, signal);
  for (const [address, before] of noted) {
    // Who is no peer any more has nothing of it left.
    if (!peers.has(address)) continue;
    const now = await readTold(gobgp, address, signal);
    for (const prefix of before) if (!now.has(prefix)) rejected.add(prefix);
  }
  const own = [...rejected].flatMap((prefix) => paths.get(prefix) ?? []);
  for (const path of own)
    await gobgp.deletePath({ family: familyOfPath(path), path: pathMessage(path) }, { signal });
  for (const { prefix } of own) paths.delete(prefix);
  if (own.length > 0) await gobgp.addPathStream(own.map(pathMessage), { signal, deadline_ms: list_ms });
  for (const path of own) paths.set(path.prefix, path);
  const of_others = await inTable(
    gobgp,
    [...rejected].filter((prefix) => !paths.has(prefix)),
    signal,
  );
  if (of_others.length > 0) {
    const up = [...peers.values()].flatMap(({ address, session }) =>
      session === 'established' ? [address] : [],
    );
    hold(up);
    for (const each of [withOwed(without(policies, of_others), noted), policies]) {
      await setPolicies(gobgp, each, signal);
      for (const address of up) await gobgp.resetPeer({ address, soft: true, direction: 'in' }, { signal });
    }
  } else await setPolicies(gobgp, policies, signal);
  noted.clear();
}

/** Of these prefixes, those that gobgpd has a path to: of what is gone it has told the end, whatever the policies. */
async function inTable(
  gobgp: Gobgp,
  prefixes: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const [number, family] of [
    [4, families.ipv4_unicast],
    [6, families.ipv6_unicast],
  ] as const) {
    const asked = prefixes.filter((prefix) => familyOf(prefix) === number).map((prefix) => ({ prefix }));
    if (asked.length === 0) continue;
    for await (const { destination } of gobgp.listPath(
      { family, prefixes: asked },
      { signal, deadline_ms: list_ms },
    ))
      for (const path of destination.paths) {
        const prefix = prefixOf(path);
        if (prefix !== undefined) found.add(prefix);
      }
  }
  return prefixes.filter((prefix) => found.has(prefix));
}

const familyOfPath = ({ prefix, sr_policy, network }: LocalPath) =>
  network !== undefined
    ? vpn_family(familyOf(network.prefix))
    : sr_policy !== undefined
      ? families.ipv6_sr_policy
      : prefix.includes(':')
        ? families.ipv6_unicast
        : families.ipv4_unicast;

/** All at once; where one of them is refused nobody says which: then one by one. */
async function addPaths(
  gobgp: Gobgp,
  added: readonly LocalPath[],
  { signal, paths }: ApplyOptions,
): Promise<readonly StepFailure[]> {
  try {
    await gobgp.addPathStream(added.map(pathMessage), { signal, deadline_ms: list_ms });
    for (const path of added) paths.set(path.prefix, path);
    return [];
  } catch (error) {
    if (!isOfOne(error)) throw error;
    if (added.length === 1) return [{ of: `path ${added[0]!.prefix}`, reason: (error as Error).message }];
  }
  const failures: StepFailure[] = [];
  for (const path of added) {
    try {
      await gobgp.addPath({ path: pathMessage(path) }, { signal });
      paths.set(path.prefix, path);
    } catch (error) {
      if (!isOfOne(error)) throw error;
      failures.push({ of: `path ${path.prefix}`, reason: (error as Error).message });
    }
  }
  return failures;
}
