/** The mailbox of a pod: one actor per pod interface. */
import type { Reply } from '../actor-system.js';
import type { PodInputs } from '../desired/pod.js';
import type { VppObject } from '../objects/object.js';
import type { PodSpec } from '../pod/spec.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import type { NodeLost } from './node.js';

/** One sentence with the pod, the cause and the step to take. */
export interface Refused {
  readonly error: string;
}

export type AddAnswer =
  | { readonly host_interface_name: string /** Absent for a tun. */; readonly container_mac?: string }
  | Refused;

export type DeleteAnswer = { readonly deleted: true } | Refused;

/** What all pods of the node are programmed with; `mtu` is the node's. */
export type PodNode = Omit<PodInputs, 'tables'> & { readonly software_checksums?: boolean };

/** What VPP holds for one pod. */
export interface PodHoldings {
  readonly objects: readonly VppObject[];
  /** Host ports and routes in the default table are among the objects, if VPP has any. */
  readonly whole: boolean;
  /** Of its interface, if VPP has it. */
  readonly sw_if_index?: number;
}

export type PodMessage =
  /** Answered when the pod is connected, or is known not to be. Repeated or changed, it makes the pod as it asks. */
  | {
      readonly type: 'Add';
      readonly spec: PodSpec;
      /** Aborted when nobody wants the answer any more. */
      readonly signal: AbortSignal;
      /** The VPP that has room for it by now; absent: Part will tell. */
      readonly fits?: number;
      readonly reply: Reply<AddAnswer>;
    }
  /**
   * Answered when nothing is left of the pod; an ADD under way or waiting is refused. `urgent`: somebody waits for the room.
   * Without `reply` nobody does. Idempotent.
   */
  | { readonly type: 'Delete'; readonly urgent: boolean; readonly reply?: Reply<DeleteAnswer> }
  /**
   * A VPP that can be programmed, and what it held for this pod when it was asked at `asked_ms`: of no use to a pod that
   * has changed something since.
   */
  | {
      readonly type: 'Part';
      readonly generation: number;
      readonly asked_ms: number;
      readonly node: PodNode;
      /** See podTables. */
      readonly slot: number;
      readonly holdings: PodHoldings;
      /** Why VPP cannot give it an interface that works, if it has none. */
      readonly no_room?: string;
    }
  /** The VPP of this generation is as it was, but for what all pods are programmed with; void for a pod that knows of another VPP, or of none. */
  | { readonly type: 'Node'; readonly generation: number; readonly node: PodNode }
  | NodeLost
  /** Says PodGone if nothing is left of it. */
  | { readonly type: 'StillThere' }
  /** From itself: VPP has made the device in the namespace; the rest of that transaction is under way. */
  | { readonly type: 'DeviceMade'; readonly flight: number }
  /** From itself: its device is not in the namespace any more, or will not go. */
  | { readonly type: 'DeviceGone' }
  /** From itself: a transaction is over. */
  | {
      readonly type: 'Transacted';
      readonly flight: number;
      readonly outcome: TransactionResult | Error;
    }
  /** From itself: the caller waits no more, or will not much longer and has to be told. */
  | { readonly type: 'GaveUp'; readonly reply: Reply<never> }
  /** From itself: VPP has its policies, or they take too long. */
  | { readonly type: 'Policed'; readonly wait: number }
  /** From itself: time to try again what failed. */
  | { readonly type: 'Retry' };
