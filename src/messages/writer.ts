/** What a writer of objects tells itself, by the mailbox of the actor that it is a part of. */
import type { Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';

/** What an actor with a writer tells itself: what has come in meanwhile is to be planned, and what was planned to be sent. */
export interface Work {
  readonly type: 'Work';
}

export type WriterMessage =
  /** What VPP has, or why it did not say. */
  | { readonly type: 'Read'; readonly life: number; readonly snapshot: Snapshot | Error }
  /** A transaction is over. */
  | { readonly type: 'Transacted'; readonly life: number; readonly outcome: TransactionResult | Error }
  /** Time to try again what failed. */
  | { readonly type: 'Retry'; readonly life: number };
