/** The mailbox of the policies actor. */
import type { Reply } from '../actor-system.js';
import type { FelixStream } from './felix.js';
import type { NodeStatus } from './node.js';
import type { Work, WriterMessage } from './writer.js';

/** One interface that policies are for. */
export interface ShownInterface {
  /** The endpoint that governs it, if Felix has spoken of one. */
  readonly endpoint: string;
  /** `enforced`; `waiting` for its turn, for Felix or for VPP; `refused` by VPP, and why. */
  readonly state: string;
  /** What of its policies is not enforced as it was asked for: `closed` denies, `open` passes. */
  readonly refusals: readonly string[];
  /** Names of the policies and profiles that it was made from. Fifty at most. */
  readonly policies: readonly string[];
}

/** Bounded: a thousand interfaces. */
export interface ShownPolicies {
  readonly interfaces: Readonly<Record<string, ShownInterface>>;
  /** How many there are, shown or not. */
  readonly interface_count: number;
}

export type PoliciesMessage =
  | NodeStatus
  | FelixStream
  /** Answered. */
  | { readonly type: 'Show'; readonly reply: Reply<ShownPolicies> }
  /** From itself: interfaces have come or gone, or VPP was told of one by somebody else. */
  | { readonly type: 'InterfacesChanged' }
  | Work
  | WriterMessage;
