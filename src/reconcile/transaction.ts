/** What an owner asks of a VPP in one go, and what came of it. */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { Operation, Outcome } from './operation.js';

/**
 * How somebody waits for it. `urgent`: a pod that is made. `prompt`: what else a person or the kubelet waits for. `bulk`: routes, services
 * and policies by the thousand, over a connection of their own and a few messages at a time.
 *
 * VPP keeps the order of messages within a connection only. An owner's objects all go one way, so their order holds. What refers to
 * another owner's object (a route to an uplink, a policy of a pod's interface) is asked for after that one is known to be
 * there, and an interface goes after those who refer to it have been told.
 */
export type Urgency = 'urgent' | 'prompt' | 'bulk';

/** What a person would call the cause, should VPP die of this: it stays the same when the same is asked for again in other words. */
export interface Subject {
  /** `pod <namespace>/<name> <interface>`: the workload, not its sandbox. */
  readonly name: string;
  /** Stands for all that is asked for: another one is a change. */
  readonly content: string;
}

export interface Transaction {
  /** As in VppUp: a transaction computed for another generation is refused with StaleGeneration. */
  readonly generation: number;
  /** What a human calls this: a pod, an uplink. One transaction of an owner is under way at a time, the next one waits. */
  readonly owner: string;
  /** A thousand at a time, or so: what comes of all of them is told in one piece. */
  readonly operations: readonly Operation[];
  /** After a failed operation: `rollback` undoes what was done, `continue` isolates the object that failed. */
  readonly on_error: 'rollback' | 'continue';
  readonly urgency: Urgency;
  /** Absent: each object stands for itself. */
  readonly subject?: Subject;
  /** Told that VPP has made this interface as soon as what needs it has been sent: time to do Linux's part meanwhile. */
  readonly interface_made?: (tag: InterfaceTag) => void;
  /** Without it there is no node: never quarantined. */
  readonly essential?: true;
}

export interface TransactionResult {
  /** One per operation, in order. What was undone, or not sent because an earlier one failed, carries an error of its own. */
  readonly outcomes: readonly Outcome[];
  /** sw_if_index of each interface that the transaction created. */
  readonly interfaces: ReadonlyMap<InterfaceTag, number>;
  /** VPP lacks what it was known to have, though it lives: what it has is to be read anew. */
  readonly lost_state?: true;
  /** The first error, if any. */
  readonly error?: Error;
}
