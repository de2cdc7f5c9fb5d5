/** What is done is done by gobgpd's calls, and what it has is read by them. A call that fails costs its own object. */
import { families, type Gobgp, MalformedError, RefusedError } from 'gobgp-grpc-stubs';
import type { BgpState, BgpStep } from './diff.js';
import { type LocalPath, pathMessage } from './local-paths.js';
import { type ActualPeer, actualPeer, peerMessage } from './peer-state.js';
import { type Direction, default_action, policyName } from './policies.js';

/** A list of thousands takes its time; a gobgpd that hangs takes for ever. */
const list_ms = 30_000;

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

export async function readPolicies(
  gobgp: Gobgp,
  signal: AbortSignal,
): Promise<Pick<BgpState, 'statements' | 'assigned'>> {
  const statements: Record<Direction, readonly string[] | undefined> = {
    import: undefined,
    export: undefined,
  };
  const assigned: Record<Direction, string> = { import: '', export: '' };
  for await (const { policy } of gobgp.listPolicy({}, { signal, deadline_ms: list_ms }))
    for (const direction of ['import', 'export'] as const)
      if (policy.name === policyName(direction))
        statements[direction] = policy.statements.map(({ name }) => name);
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
  return { statements, assigned };
}

export interface ApplyOptions {
  readonly signal: AbortSignal;
  /** See peerMessage. */
  readonly restarting: boolean;
  /** Own paths that gobgpd has; kept true. */
  readonly paths: Map<string, LocalPath>;
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

const policies_failed = 'policies';

const isJudged = ({ type }: BgpStep): boolean => type !== 'delete_peer' && type !== 'delete_path';

/** It says something of what was asked, and nothing of gobgpd. */
const isOfOne = (error: unknown): boolean => error instanceof RefusedError || error instanceof MalformedError;

function subject(step: BgpStep): string {
  switch (step.type) {
    case 'add_peer':
    case 'update_peer':
      return `peer ${step.peer.address}`;
    case 'delete_peer':
    case 'judge_imports':
    case 'judge_exports':
      return `peer ${step.address}`;
    case 'delete_path':
      return `path ${step.path.prefix}`;
    default:
      return policies_failed;
  }
}

async function carryOut(
  gobgp: Gobgp,
  step: Exclude<BgpStep, { type: 'add_paths' }>,
  { signal, restarting, paths }: ApplyOptions,
): Promise<void> {
  switch (step.type) {
    case 'delete_peer':
      await gobgp.deletePeer({ address: step.address }, { signal });
      return;
    case 'delete_path':
      await gobgp.deletePath({ family: familyOfPath(step.path), path: pathMessage(step.path) }, { signal });
      paths.delete(step.path.prefix);
      return;
    case 'set_policies': {
      const { sets, policies } = step.policies;
      await gobgp.setPolicies({ defined_sets: sets, policies }, { signal });
      return;
    }
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
      await gobgp.addPeer({ peer: peerMessage(step.peer, restarting) }, { signal });
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

const familyOfPath = ({ prefix }: LocalPath) =>
  prefix.includes(':') ? families.ipv6_unicast : families.ipv4_unicast;

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
