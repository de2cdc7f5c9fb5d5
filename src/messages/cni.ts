/** The mailbox of the CNI actor. */
import type { Down, Reply } from '../actor-system.js';
import type { VppObject } from '../objects/object.js';
import type { PodKey, PodSpec } from '../pod/spec.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { EarlyNodeStatus } from './node.js';
import type { AddAnswer, DeleteAnswer } from './pod.js';

export type CniMessage =
  | EarlyNodeStatus
  /** From the CNI plugin. Answered. */
  | CniAdd
  /** From the CNI plugin. Answered. */
  | {
      readonly type: 'Del';
      readonly pod: Pick<PodSpec, 'key' | 'netns' | 'interface_name'>;
      readonly reply: Reply<DeleteAnswer>;
    }
  /** From a pod: it does not know what VPP holds for it. Answered by Part to it. */
  | { readonly type: 'Observe'; readonly key: PodKey }
  /**
   * From a pod: it has come to rest on the VPP of this generation. `fault`: the pod and why it is not as it should be, empty when it
   * is. Told again when that changes.
   */
  | {
      readonly type: 'PodSettled';
      readonly key: PodKey;
      readonly generation: number;
      readonly fault: string;
    }
  /**
   * From a pod: it has no record, and nobody asks for it. `left`: what the VPP of that generation holds under its name all the same, which
   * nobody answers for; absent when the pod does not know.
   */
  | {
      readonly type: 'PodGone';
      readonly key: PodKey;
      readonly left?: { readonly generation: number; readonly objects: readonly VppObject[] };
    }
  | { readonly type: 'UplinkDown'; readonly down: Down }
  /** From itself: a request handed to a pod has been answered; `there`: by a pod that is connected. */
  | { readonly type: 'Settled'; readonly key: PodKey; readonly verb: 'add' | 'del'; readonly there: boolean }
  /** From itself: an ADD that waits for another pod to go has to be answered. */
  | { readonly type: 'HeldExpired'; readonly add: CniAdd }
  /** From itself: what VPP held when it was asked at `asked_ms`, or why it did not say. */
  | {
      readonly type: 'Snapshot';
      readonly read: number;
      readonly asked_ms: number;
      /** Without the pods' routes in the default table, and without host ports. */
      readonly audit: boolean;
      readonly snapshot: Snapshot | Error;
    }
  /** From itself: the VPP of this generation has the policies that pods need; `late`: it has been waited for long enough. */
  | { readonly type: 'Policed'; readonly generation: number; readonly late: boolean }
  /** From itself: the removal of an orphan is over. */
  | { readonly type: 'Swept'; readonly id: string; readonly error?: Error }
  /** From itself: look for pods whose namespace is gone. */
  | { readonly type: 'Collect' }
  /** From itself: compare VPP with what it should hold. */
  | { readonly type: 'Audit' }
  /** From itself: who computes checksums of pods has changed. */
  | { readonly type: 'ChecksumsAsked' }
  | { readonly type: 'ReadAgain' }
  /** From itself: pods have had their time to settle on the VPP of this generation. */
  | { readonly type: 'SettledLate'; readonly generation: number };

export interface CniAdd {
  readonly type: 'Add';
  readonly spec: PodSpec;
  /** Aborted when nobody wants the answer any more. */
  readonly signal: AbortSignal;
  readonly reply: Reply<AddAnswer>;
}
