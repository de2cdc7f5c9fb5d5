/**
 * Where encryption is required: what a new VPP is given before it has uplinks. It knows no other way then than the default route, and what pods send to
 * pods of other nodes would leave by that in clear: what is in a pool is dropped from its first packet on, until its route is there. Where the API server
 * has not told the pools yet, as when it is down while this process begins, those of before count, which are in a file.
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import { drop_paths, routeTo } from '../desired/remote-route.js';
import { canonicalPrefix } from '../ip/spelling.js';
import type { InPlace, NodePrepared } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import { keyOf } from '../objects/object.js';
import type { Route } from '../objects/routing.js';
import type { TransactionResult } from '../reconcile/transaction.js';

/** The pools of before, for the next life of this process. Both throw when they cannot. */
export interface PoolsFile {
  read(): string | undefined;
  write(text: string): void;
}

export interface PoolGuardParts {
  readonly file: PoolsFile;
  readonly ctx: Pick<ActorContext<unknown>, 'ask' | 'log'>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<InPlace>;
  /** Undefined: it is not known yet. */
  readonly drops: () => readonly Route[] | undefined;
}

/** A file of this program's has no more; as many as are read of the API. */
const pools_max = 10_000;

/** VPP is not waited for any longer: the uplink actor does not wait either. */
const transaction_ms = 5000;

export class PoolGuard {
  readonly #parts: PoolGuardParts;
  /** A VPP that is to have them. */
  #prepared: NodePrepared | undefined;
  /** It has these already, of before. */
  #given: readonly Route[] = [];
  /** What the file has, as far as is known. */
  #remembered: string | undefined;

  constructor(parts: PoolGuardParts) {
    this.#parts = parts;
  }

  /** A VPP that has no uplinks yet. */
  prepared(prepared: NodePrepared): void {
    this.#prepared = prepared;
    this.#given = [];
    if (this.#parts.drops() !== undefined) return this.news();
    this.#given = this.#last();
    if (this.#given.length > 0) void this.#tell(prepared.generation, 'add', this.#given);
  }

  /** It has uplinks, or is lost. */
  over(): void {
    this.#prepared = undefined;
  }

  /** Pools, or nodes, may be known by now, or be others. */
  news(): void {
    const drops = this.#parts.drops();
    if (drops === undefined) return;
    this.#remember(drops);
    if (this.#prepared === undefined) return;
    const { generation, round } = this.#prepared;
    this.#prepared = undefined;
    const now = new Set(drops.map(({ prefix }) => prefix));
    const over = this.#given.filter(({ prefix }) => !now.has(prefix));
    void this.#tell(generation, 'remove', over)
      .then(() => this.#tell(generation, 'add', drops))
      .then(() => this.#parts.uplink.tell({ type: 'InPlace', of: 'connectivity', round }));
  }

  /** Never throws: what VPP does not take is logged. */
  async #tell(generation: number, action: 'add' | 'remove', drops: readonly Route[]): Promise<void> {
    if (drops.length === 0) return;
    const { vpp, ctx } = this.#parts;
    const operations = drops.map((object) => ({ action, object }));
    const ask = ctx.ask<VppConnectionMessage, TransactionResult>(
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
    );
    try {
      for (const { operation, error } of (await ask).outcomes)
        if (error !== undefined) this.#refused(`${keyOf(operation.object)}: ${error.message}`);
    } catch (error) {
      this.#refused((error as Error).message);
    }
  }

  #remember(drops: readonly Route[]): void {
    const text = JSON.stringify(drops.map(({ prefix }) => prefix).sort());
    if (text === this.#remembered) return;
    this.#remembered = text;
    try {
      this.#parts.file.write(text);
    } catch (error) {
      this.#parts.ctx.log.warn(
        {},
        `connectivity(guard) the pools cannot be written down (${(error as Error).message}): a VPP that this process begins with drops nothing until the API server has told them`,
      );
    }
  }

  /** What is no prefix there is none. */
  #last(): readonly Route[] {
    try {
      const told: unknown = JSON.parse(this.#parts.file.read() ?? '[]');
      if (!Array.isArray(told)) throw new Error('it is no list');
      return told
        .slice(0, pools_max)
        .filter((each) => typeof each === 'string' && canonicalPrefix(each) === each)
        .map((prefix: string) => routeTo(prefix, drop_paths));
    } catch (error) {
      this.#refused(`the pools of before cannot be read: ${(error as Error).message}`);
      return [];
    }
  }

  #refused(why: string): void {
    this.#parts.ctx.log.warn(
      {},
      `connectivity(guard) a new VPP drops nothing until it has its routes: what pods send may be in clear until then: ${why}`,
    );
  }
}
