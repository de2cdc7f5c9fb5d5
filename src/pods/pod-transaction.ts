/** A pod's transaction with VPP: one at a time, without waiting for it in a handler. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { PodMessage } from '../messages/pod.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { PodSpec } from '../pod/spec.js';
import type { Subject, Transaction, TransactionResult } from '../reconcile/transaction.js';

/** VPP does a transaction in milliseconds; one that lasts longer than this has got lost, or VPP is about to be killed. */
const transaction_ms = 10_000;

/** What it is for: an ADD, to make good what is missing, or to remove the pod. */
export type Purpose = 'add' | 'resync' | 'remove';

export interface Flight {
  readonly id: number;
  readonly purpose: Purpose;
  readonly transaction: Transaction;
}

/** The workload and what it asks for: each sandbox of it has another namespace and another address, which is no change of that. */
export function subjectOf(name: string, spec: PodSpec | undefined, purpose: Purpose): Subject {
  const addresses = spec && [spec.addresses.ip4.length, spec.addresses.ip6.length];
  const content = JSON.stringify({ ...spec, key: '', netns: '', addresses });
  return { name, content: `${purpose === 'remove' ? 'no ' : ''}${content}` };
}

export class PodTransaction {
  readonly #ctx: ActorContext<PodMessage>;
  readonly #vpp: ActorRef<VppConnectionMessage>;
  #flight: Flight | undefined;
  #last = 0;

  constructor(ctx: ActorContext<PodMessage>, vpp: ActorRef<VppConnectionMessage>) {
    this.#ctx = ctx;
    this.#vpp = vpp;
  }

  get purpose(): Purpose | undefined {
    return this.#flight?.purpose;
  }

  /** That of the VPP which is at it; undefined: none is. */
  get generation(): number | undefined {
    return this.#flight?.transaction.generation;
  }

  isUnderWay(id: number): boolean {
    return this.#flight?.id === id;
  }

  /** Has Transacted told; during an ADD also DeviceMade. */
  begin(purpose: Purpose, transaction: Transaction): void {
    const ctx = this.#ctx;
    this.#last += 1;
    const flight = this.#last;
    const tell = (message: PodMessage): void => ctx.tellSelf(message);
    const over = (outcome: TransactionResult | Error): void => tell({ type: 'Transacted', flight, outcome });
    const watched: Transaction = {
      ...transaction,
      ...(purpose === 'add' && { interface_made: () => tell({ type: 'DeviceMade', flight }) }),
    };
    this.#flight = { id: flight, purpose, transaction };
    ctx
      .ask<VppConnectionMessage, TransactionResult>(
        this.#vpp,
        (reply) => ({ type: 'Transact', transaction: watched, reply }),
        transaction_ms,
      )
      .then(over, over);
  }

  /** The transaction whose end was told; undefined when it does not count any more. */
  land(id: number): Flight | undefined {
    const flight = this.#flight;
    if (flight?.id !== id) return undefined;
    this.#flight = undefined;
    return flight;
  }

  /** It will not be answered, or does not count. */
  forget(): void {
    this.#flight = undefined;
  }
}
