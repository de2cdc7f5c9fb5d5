/**
 * Has VPP hold the routes and tunnels that are wanted, with one transaction after the other, two on their way. What an earlier life has
 * left in VPP stays as it is until it is known what is wanted. What VPP refuses is tried again, later each time.
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { Sink } from '../desired/connectivity.js';
import type { ConnectivityMessage } from '../messages/connectivity.js';
import type { NodeReady } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  interfaceMade,
  isDangling,
  isHalfMade,
  keyOf,
  type ObjectKey,
  type VppObject,
} from '../objects/object.js';
import { tunnelKeys } from '../objects/tunnels.js';
import { Model } from '../reconcile/model.js';
import type { Operation } from '../reconcile/operation.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import { Overlap, type OverlapSettings } from './overlap.js';

export interface RouteWriterSettings extends OverlapSettings {
  /** Operations of one transaction. */
  readonly operations_max: number;
  /** For one transaction: other owners may have much to do, too. */
  readonly transaction_ms: number;
  readonly read_ms: number;
  /** From a refusal to the next attempt; doubled each time. */
  readonly retry_ms: number;
  readonly retry_max_ms: number;
}

export const route_writer_settings_default: RouteWriterSettings = {
  operations_max: 1024,
  transaction_ms: 120_000,
  read_ms: 60_000,
  retry_ms: 1000,
  retry_max_ms: 60_000,
  lead_ms: 2000,
  linger_ms: 10_000,
};

/** One waits for its turn in the connection while VPP does the other. */
const flights_max = 2;
/** What is looked at in one turn of the event loop. */
const piece = 1024;
/** Of what VPP refuses, so much is named. */
const named_max = 100;

export class RouteWriter implements Sink {
  readonly #ctx: ActorContext<ConnectivityMessage>;
  readonly #vpp: ActorRef<VppConnectionMessage>;
  readonly #settings: RouteWriterSettings;
  readonly #model = new Model();
  readonly #overlap: Overlap;
  #due: Timer | undefined;
  #due_ms = Number.POSITIVE_INFINITY;
  /** Counts what is known of VPP anew: what was begun before is void. */
  #life = 0;
  /** Of the VPP that can be programmed. */
  #generation: number | undefined;
  /** The last VPP of which was asked what it has. */
  #vpp_begun: string | undefined;
  /** What VPP has is not known yet. */
  #reading = false;
  #flights = 0;
  #retry: Timer | undefined;
  #retries = 0;
  /** What nobody has asked for and an earlier life has left: tunnels by their tags, and the rest. */
  readonly #kept = new Set<ObjectKey>();
  readonly #kept_tunnels = new Set<InterfaceTag>();
  /** What may be there behind a route of another owner: without paths, which VPP does not tell. */
  readonly #hidden = new Map<ObjectKey, VppObject>();
  /** All that is wanted has been told: what is not is to go. */
  #told = false;

  constructor(
    ctx: ActorContext<ConnectivityMessage>,
    vpp: ActorRef<VppConnectionMessage>,
    settings: RouteWriterSettings,
  ) {
    this.#ctx = ctx;
    this.#vpp = vpp;
    this.#settings = settings;
    this.#overlap = new Overlap(settings);
  }

  // --- what is wanted

  want(object: VppObject): void {
    const tag = interfaceMade(object);
    const key = keyOf(object);
    if (tag !== undefined) {
      this.#kept_tunnels.delete(tag);
      const is_new = this.#model.wanted(key) === undefined && this.#model.there(key) === undefined;
      this.#overlap.comes(tag, is_new, this.#now_ms);
    } else {
      if (this.#kept.size > 0) this.#kept.delete(key);
      if (this.#overlap.holds(object, this.#model.wanted(key))) return this.#wake();
    }
    this.#model.want(object);
  }

  unwant(object: VppObject): void {
    const tag = interfaceMade(object);
    if (tag === undefined) {
      this.#overlap.forget(keyOf(object));
      this.#model.unwant(keyOf(object));
    } else this.#retire(tag);
  }

  /** The other end may still send by this tunnel, and a route may still lead by it. */
  #retire(tag: InterfaceTag): void {
    if (this.#overlap.goes(tag, this.#now_ms)) this.#wake();
    else this.#unwantTunnel(tag);
  }

  get #now_ms(): number {
    return this.#ctx.clock.now_ms();
  }

  /** Routes move, and tunnels go, when it is time. */
  due(): void {
    this.#due = undefined;
    this.#due_ms = Number.POSITIVE_INFINITY;
    this.#settle(this.#now_ms);
    this.#wake();
  }

  #settle(now_ms: number): void {
    const { routes, tunnels } = this.#overlap.due(now_ms);
    for (const route of routes) this.#model.want(route);
    for (const tag of tunnels) this.#unwantTunnel(tag);
  }

  #wake(): void {
    const next_ms = this.#overlap.next_ms;
    if (next_ms === undefined || next_ms >= this.#due_ms) return;
    this.#due?.cancel();
    this.#due_ms = next_ms;
    this.#due = this.#ctx.after(Math.max(0, next_ms - this.#now_ms), { type: 'Due' });
  }

  /** Whether all that is wanted has been told by now. */
  allTold(told: boolean): void {
    this.#told = told;
  }

  // --- VPP

  /** A VPP of which is not known what it has; over another connection it is the same one. */
  begin({ generation, vpp }: Pick<NodeReady, 'generation' | 'vpp'>): void {
    if (vpp !== this.#vpp_begun) this.#renounce();
    this.#vpp_begun = vpp;
    this.#generation = generation;
    this.#readAnew();
  }

  #readAnew(): void {
    this.#void();
    this.#hidden.clear();
    this.#model.forget();
    this.#read();
  }

  /** Another VPP need not be given what was to go, nor what was to wait; what it still has of it, being the same, is seen again. */
  #renounce(): void {
    this.#settle(Number.POSITIVE_INFINITY);
    if (this.#told) {
      for (const key of this.#kept) this.#model.unwant(key);
      this.#kept.clear();
      for (const tag of this.#kept_tunnels) this.#unwantTunnel(tag);
      this.#kept_tunnels.clear();
    }
  }

  /** VPP cannot be programmed. */
  lost(): void {
    this.#void();
    this.#generation = undefined;
  }

  get generation(): number | undefined {
    return this.#generation;
  }

  #void(): void {
    this.#newLife();
    this.#reading = false;
    this.#flights = 0;
    this.#retries = 0;
  }

  /** The timer of before would fire for nobody, and keep a new one from being set. */
  #newLife(): void {
    this.#life += 1;
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  #read(): void {
    const life = this.#life;
    this.#reading = true;
    this.#model.beginReading();
    const done = (snapshot: Snapshot | Error): void => this.#ctx.tellSelf({ type: 'Read', life, snapshot });
    const take = (object: VppObject): void => {
      if (life === this.#life) this.#seen(object, false);
    };
    this.#ctx
      .ask<VppConnectionMessage, Snapshot>(
        this.#vpp,
        (reply) => ({ type: 'Read', scopes: ['connectivity', 'hidden'], take, reply }),
        this.#settings.read_ms,
      )
      .then(done, done);
  }

  /** What VPP has is known, or has to be asked again. */
  read(life: number, snapshot: Snapshot | Error): void {
    if (life !== this.#life) return;
    if (snapshot instanceof Error) {
      this.#ctx.log.warn(
        { err: snapshot },
        `routes(read) VPP does not tell what it has: ${snapshot.message}`,
      );
      return this.#later();
    }
    for (const object of snapshot.objects) this.#seen(object, snapshot.unsure.has(keyOf(object)));
    this.#model.endReading();
    this.#reading = false;
  }

  /** What an earlier life has left stays, but for what refers to nothing or was not completed: that is in the way of whatever comes. */
  #seen(object: VppObject, unsure: boolean): void {
    const model = this.#model;
    if (object.kind === 'route' && object.paths.length === 0) {
      this.#hidden.set(keyOf(object), object);
      return;
    }
    model.seen(object, unsure);
    if (isDangling(object) || isHalfMade(object)) return;
    const key = keyOf(object);
    if (model.wanted(key) !== undefined) return;
    model.want(object);
    const tag = interfaceMade(object);
    if (tag === undefined) this.#kept.add(key);
    else this.#kept_tunnels.add(tag);
  }

  // --- what is done

  /** Does a piece of what there is to do. True: nothing is left, or it waits for VPP. */
  step(): boolean {
    const generation = this.#generation;
    if (generation === undefined || this.#reading) return true;
    const model = this.#model;
    if (!model.scan(piece)) return false;
    while (this.#flights < flights_max) {
      const operations = model.take(this.#settings.operations_max);
      if (operations.length === 0) break;
      this.#send(generation, operations);
    }
    if (this.#flights > 0) return true;
    if (model.failed.size > 0) this.#later();
    else this.#retries = 0;
    return !this.#release();
  }

  /** VPP has all that is wanted, but for what it refuses: what is in nobody's way any more goes. True: there was something. */
  #release(): boolean {
    if (this.#told && this.#kept.size > 0) {
      this.#releaseKept();
      return true;
    }
    if (this.#told && this.#hidden.size > 0) {
      this.#releaseHidden();
      return true;
    }
    if (!this.#told || this.#kept_tunnels.size === 0) return false;
    for (const tag of this.#kept_tunnels) this.#retire(tag);
    this.#kept_tunnels.clear();
    return true;
  }

  /** A piece of it. */
  #releaseKept(): void {
    let left = piece;
    for (const key of this.#kept) {
      if (left === 0) return;
      left -= 1;
      this.#kept.delete(key);
      this.#model.unwant(key);
    }
  }

  /** A piece of it. What is wanted has been added, whether it was there or not; the rest is removed like that: it would come to light one day. */
  #releaseHidden(): void {
    let left = piece;
    for (const [key, route] of this.#hidden) {
      if (left === 0) return;
      left -= 1;
      this.#hidden.delete(key);
      if (this.#model.wanted(key) === undefined) this.#model.seen(route, true);
    }
  }

  /** With all that is set on it. It goes when nothing leads through it any more. */
  #unwantTunnel(tag: InterfaceTag): void {
    for (const { wanted } of [...this.#model.on(tag)]) {
      if (wanted !== undefined && wanted.kind !== 'route') this.#model.unwant(keyOf(wanted));
    }
    for (const key of tunnelKeys(tag)) this.#model.unwant(key);
  }

  #send(generation: number, operations: readonly Operation[]): void {
    const life = this.#life;
    this.#flights += 1;
    const done = (outcome: TransactionResult | Error): void => {
      this.#ctx.tellSelf({ type: 'Transacted', life, outcome });
    };
    const transaction = {
      generation,
      owner: 'connectivity',
      operations,
      on_error: 'continue',
      urgency: 'bulk',
    } as const;
    this.#ctx
      .ask<VppConnectionMessage, TransactionResult>(
        this.#vpp,
        (reply) => ({ type: 'Transact', transaction, reply }),
        this.#settings.transaction_ms,
      )
      .then(done, done);
  }

  transacted(life: number, outcome: TransactionResult | Error): void {
    if (life !== this.#life) return;
    this.#flights -= 1;
    if (outcome instanceof Error) {
      // Of a VPP that is lost the uplink tells. Of one that is there it is to be asked what it has done.
      this.#ctx.log.warn({ err: outcome }, `routes(write) ${outcome.message}`);
      this.#newLife();
      this.#reading = true;
      return this.#later();
    }
    this.#model.settle(outcome.outcomes);
  }

  #later(): void {
    if (this.#retry !== undefined) return;
    const { retry_ms, retry_max_ms } = this.#settings;
    const life = this.#life;
    this.#retry = this.#ctx.after(Math.min(retry_ms * 2 ** this.#retries, retry_max_ms), {
      type: 'Retry',
      life,
    });
    this.#retries = Math.min(this.#retries + 1, 30);
  }

  retry(life: number): void {
    if (life !== this.#life || this.#generation === undefined) return;
    this.#retry = undefined;
    if (!this.#reading) return this.#model.retry();
    const retries = this.#retries;
    this.#readAnew();
    this.#retries = retries;
  }

  // --- for people

  gauges() {
    return {
      in_vpp: this.#model.there_count,
      waiting: this.#model.waiting + this.#model.inFlight + this.#overlap.moves,
      refused: this.#model.failed.size,
      kept: this.#kept.size + this.#kept_tunnels.size,
    };
  }

  /** Objects that VPP refused, and why. */
  refused(): Readonly<Record<ObjectKey, string>> {
    const refused: Record<ObjectKey, string> = {};
    let left = named_max;
    for (const [key, { message }] of this.#model.failed) {
      if (left === 0) break;
      left -= 1;
      refused[key] = message;
    }
    return refused;
  }
}
