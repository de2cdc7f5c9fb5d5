/** The mailbox of the policies actor. */
import type { Reply } from '../actor-system.js';
import type { ShownJudgement } from '../policies/shown.js';
import type { FelixStream } from './felix.js';
import type { EarlyNodeStatus } from './node.js';
import type { Work, WriterMessage } from './writer.js';

/** One interface that policies are for. */
export interface ShownInterface {
  readonly kind: 'workload' | 'tap' | 'uplink' | 'tunnel';
  /** Of a pod its endpoint, of the node's own interfaces that of the host by which Linux knows it. */
  readonly endpoint: string;
  /** The network beside the default one that it is in: of policies, the rules for that one count. */
  readonly network?: string;
  /** The host endpoint that governs it, if there is one. Absent for pods. */
  readonly governed_by?: string;
  /** `enforced`; `waiting` for its turn, for Felix or for VPP; `refused` by VPP, and why. */
  readonly state: string;
  /** What it is to be judged by; absent: Felix has not told everything, or its turn has not come. */
  readonly desired?: ShownJudgement;
  /** What VPP was told last and has taken; absent: nothing by this process. */
  readonly programmed?: ShownJudgement;
  /** What of its policies is not enforced as it was asked for: `closed` denies, `open` passes. */
  readonly refusals: readonly string[];
  /** Names of the policies and profiles that it was made from. Fifty at most. */
  readonly policies: readonly string[];
}

/** Absent: all. */
export interface PoliciesQuestion {
  /** `namespace/pod`, or the whole endpoint as `endpoint` shows it, or an interface by its tag. */
  readonly of?: string;
}

/** Bounded: a thousand interfaces. */
export interface ShownPolicies {
  /** By the tag that VPP has of it. */
  readonly interfaces: Readonly<Record<string, ShownInterface>>;
  /** How many of those that were asked for there are, shown or not. */
  readonly interface_count: number;
  /** See PoliciesReport. */
  readonly waits: string;
  readonly problems: Readonly<Record<string, string>>;
  readonly refused: Readonly<Record<string, string>>;
}

export type PoliciesMessage =
  | EarlyNodeStatus
  | FelixStream
  /** Answered. */
  | { readonly type: 'Show'; readonly question: PoliciesQuestion; readonly reply: Reply<ShownPolicies> }
  /** From itself: interfaces have come or gone, or VPP was told of one by somebody else. */
  | { readonly type: 'InterfacesChanged' }
  | Work
  | WriterMessage;
