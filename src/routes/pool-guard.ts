/**
 * Where encryption is required: what a new VPP is given before it has uplinks. It knows no other way then than the default route, and what pods send to
 * pods of other nodes would leave by that in clear: what is in a pool is dropped from its first packet on, until its route is there.
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { InPlace, NodePrepared } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import { keyOf } from '../objects/object.js';
import type { Route } from '../objects/routing.js';
import type { TransactionResult } from '../reconcile/transaction.js';

export interface PoolGuardParts {
  readonly ctx: Pick<ActorContext<unknown>, 'ask' | 'log'>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<InPlace>;
  /** Undefined: it is not known yet. */
  readonly drops: () => readonly Route[] | undefined;
}

/** VPP is not waited for any longer: the uplink actor does not wait either. */
const transaction_ms = 5000;

export class PoolGuard {
  readonly #parts: PoolGuardParts;
  /** A VPP that is to have them. */
  #prepared: NodePrepared | undefined;

  constructor(parts: PoolGuardParts) {
    this.#parts = parts;
  }

  /** A VPP that has no uplinks yet. */
  prepared(prepared: NodePrepared): void {
    this.#prepared = prepared;
    this.news();
  }

  /** It has uplinks, or is lost. */
  over(): void {
    this.#prepared = undefined;
  }

  /** Pools, or nodes, are known by now. */
  news(): void {
    const { vpp, ctx, drops } = this.#parts;
    const operations = this.#prepared && drops()?.map((object) => ({ action: 'add', object }) as const);
    if (this.#prepared === undefined || operations === undefined) return;
    const { generation, round } = this.#prepared;
    this.#prepared = undefined;
    const inPlace = (): void => {
      this.#parts.uplink.tell({ type: 'InPlace', of: 'connectivity', round });
    };
    if (operations.length === 0) return inPlace();
    ctx
      .ask<VppConnectionMessage, TransactionResult>(
        vpp,
        (reply) => ({
          type: 'Transact',
          transaction: {
            generation,
            owner: 'connectivity',
            operations,
            on_error: 'continue',
            urgency: 'bulk',
          },
          reply,
        }),
        transaction_ms,
      )
      .then(({ outcomes }) => {
        for (const { operation, error } of outcomes)
          if (error !== undefined) this.#refused(`${keyOf(operation.object)}: ${error.message}`);
      })
      .catch((error: Error) => this.#refused(error.message))
      .finally(inPlace);
  }

  #refused(why: string): void {
    this.#parts.ctx.log.warn(
      {},
      `connectivity(guard) a new VPP drops nothing until it has its routes: what pods send may be in clear until then: ${why}`,
    );
  }
}
