/**
 * Has VPP hold what one owner wants, with one transaction after the other, two on their way. What an earlier life has left in VPP stays as
 * it is until it is known what is wanted. What VPP refuses is tried again, later each time.
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { NodeFacts } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { WriterMessage } from '../messages/writer.js';
import { isDangling, isHalfMade, keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import type { OwnerName } from '../objects/owner.js';
import { Model } from '../reconcile/model.js';
import type { Operation } from '../reconcile/operation.js';
import type { Scope, Snapshot, Take } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import { inPieces } from './turns.js';

export interface WriterSettings {
  /** Operations of one transaction. */
  readonly operations_max: number;
  /** For one transaction: other owners may have much to do, too. */
  readonly transaction_ms: number;
  readonly read_ms: number;
  /** From a refusal to the next attempt; doubled each time. */
  readonly retry_ms: number;
  readonly retry_max_ms: number;
}

export const writer_settings_default: WriterSettings = {
  operations_max: 1024,
  transaction_ms: 120_000,
  read_ms: 60_000,
  retry_ms: 1000,
  retry_max_ms: 60_000,
};

/** What it needs of the actor that it is a part of. */
export type WriterContext = Pick<ActorContext<WriterMessage>, 'ask' | 'tellSelf' | 'after' | 'log' | 'clock'>;

/** One waits for its turn in the connection while VPP does the other. */
const flights_max = 2;
/** What is looked at before the clock is. */
const piece = 128;
/** What is let go of in one turn of the event loop. */
const released_max = 512;
/** Of what VPP refuses, so much is named. */
const named_max = 100;

/** Takes a piece out. */
function someOf<K, V>(from: Map<K, V>): readonly (readonly [K, V])[];
function someOf<K>(from: Set<K>): readonly K[];
function someOf(from: Map<unknown, unknown> | Set<unknown>): readonly unknown[] {
  const some: unknown[] = [];
  for (const item of from) {
    some.push(item);
    from.delete(from instanceof Map ? (item as [unknown, unknown])[0] : item);
    if (some.length === released_max) break;
  }
  return some;
}

export class ObjectWriter {
  protected readonly model = new Model();
  readonly #ctx: WriterContext;
  readonly #vpp: ActorRef<VppConnectionMessage>;
  readonly #owner: OwnerName;
  readonly #settings: WriterSettings;
  /** Counts what is known of VPP anew: what was begun before is void. */
  #life = 0;
  /** Of the VPP that can be programmed. */
  #generation: number | undefined;
  /** The last VPP of which was asked what it has. */
  #vpp_begun: string | undefined;
  /** What VPP has is not known yet. */
  #reading = false;
  /** What is being read may be of before it was asked for. */
  #compare_again = false;
  /** A reading has ended, and not all of it is looked at. */
  #compares = false;
  #flights = 0;
  #retry: Timer | undefined;
  #retries = 0;
  /** What nobody has asked for and an earlier life has left. */
  readonly #kept = new Set<ObjectKey>();
  /** What may be there behind a route of another owner: without paths, which VPP does not tell. */
  readonly #hidden = new Map<ObjectKey, VppObject>();
  /** All that is wanted has been told: what is not is to go. */
  #told = false;

  constructor(
    ctx: WriterContext,
    vpp: ActorRef<VppConnectionMessage>,
    owner: OwnerName,
    settings: WriterSettings,
  ) {
    this.#ctx = ctx;
    this.#vpp = vpp;
    this.#owner = owner;
    this.#settings = settings;
  }

  // --- what is wanted

  want(object: VppObject): void {
    this.wants(keyOf(object));
    this.model.want(object);
  }

  unwant(object: VppObject): void {
    this.model.unwant(keyOf(object));
  }

  /** Somebody wants it: it is no remainder of an earlier life. */
  protected wants(key: ObjectKey): void {
    if (this.#kept.size > 0) this.#kept.delete(key);
  }

  /** An earlier life has left something that nobody has asked for yet. */
  protected get keepsAny(): boolean {
    return this.#kept.size > 0;
  }

  /** An earlier life has left it, and nobody has asked for it yet. */
  protected isKept(key: ObjectKey): boolean {
    return this.#kept.has(key);
  }

  /** Whether all that is wanted has been told by now. */
  allTold(told: boolean): void {
    this.#told = told;
  }

  // --- VPP

  /** A VPP of which is not known what it has; over another connection it is the same one. */
  begin({ generation, vpp }: Pick<NodeFacts, 'generation' | 'vpp'>): void {
    if (vpp !== this.#vpp_begun) this.renounce(this.#told);
    this.#vpp_begun = vpp;
    this.#generation = generation;
    this.#readAnew();
  }

  #readAnew(): void {
    this.#void();
    this.#hidden.clear();
    this.model.forget();
    this.#read(true);
  }

  /** Another VPP need not be given what was to go; what it still has of it, being the same, is seen again. */
  protected renounce(told: boolean): void {
    if (!told) return;
    for (const key of this.#kept) this.model.unwant(key);
    this.#kept.clear();
  }

  /** VPP cannot be programmed. */
  lost(): void {
    this.#void();
    this.#generation = undefined;
  }

  get generation(): number | undefined {
    return this.#generation;
  }

  /** What it has told itself, by the mailbox of its actor. */
  hear(message: WriterMessage): void {
    switch (message.type) {
      case 'Read':
        return this.read(message.life, message.snapshot);
      case 'Transacted':
        return this.#transacted(message.life, message.outcome);
      case 'Retry':
        return this.#again(message.life);
    }
  }

  /** What VPP has is known, and nothing is on its way to it. */
  get isQuiet(): boolean {
    return this.#generation !== undefined && !this.#reading && this.#flights === 0;
  }

  /** What VPP has is in the model, but for what is on its way. */
  protected get isKnown(): boolean {
    return this.#generation !== undefined && !this.#reading && !this.#compares;
  }

  #void(): void {
    this.#newLife();
    this.#reading = false;
    this.#compare_again = false;
    this.#compares = false;
    this.#flights = 0;
    this.#retries = 0;
  }

  /** The timer of before would fire for nobody, and keep a new one from being set. */
  #newLife(): void {
    this.#life += 1;
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  /** `anew`: nothing is known of VPP, nor of what it may have behind the routes of others. */
  #read(anew: boolean): void {
    const life = this.#life;
    this.#reading = true;
    this.model.beginReading();
    const done = (snapshot: Snapshot | Error): void => this.#ctx.tellSelf({ type: 'Read', life, snapshot });
    const take = (object: VppObject): void => {
      if (life === this.#life) this.#seen(object, false);
    };
    const scopes: readonly Scope[] = anew ? [this.#owner, 'hidden'] : [this.#owner];
    this.readWith(take, scopes).then(done, done);
  }

  /** What VPP has of this owner, whatever is known of it. */
  protected readWith(take: Take, scopes: readonly Scope[] = [this.#owner]): Promise<Snapshot> {
    return this.#ctx.ask<VppConnectionMessage, Snapshot>(
      this.#vpp,
      (reply) => ({ type: 'Read', scopes, take, reply }),
      this.#settings.read_ms,
    );
  }

  /** VPP is asked what it has, beside what is known: what differs is put right. */
  protected compare(): void {
    // Two readings at once would end each other.
    if (this.#reading) this.#compare_again = true;
    else this.#read(false);
  }

  /** What VPP has is known, or has to be asked again. */
  protected read(life: number, snapshot: Snapshot | Error): void {
    if (life !== this.#life) return;
    if (snapshot instanceof Error) {
      this.#ctx.log.warn(
        { err: snapshot },
        `${this.#owner}(read) VPP does not tell what it has: ${snapshot.message}`,
      );
      return this.#later();
    }
    for (const object of snapshot.objects) this.#seen(object, snapshot.unsure.has(keyOf(object)));
    this.model.endReading();
    this.#reading = false;
    this.#compares = true;
    if (!this.#compare_again) return;
    this.#compare_again = false;
    this.#read(false);
  }

  /** What VPP has is in the model as it was read, and nothing else. */
  protected compared(): void {}

  /** What an earlier life has left stays, but for what refers to nothing or was not completed: that is in the way of whatever comes. */
  #seen(object: VppObject, unsure: boolean): void {
    if (!this.isOwn(object)) return;
    const { model } = this;
    if (object.kind === 'route' && object.paths.length === 0) {
      this.#hidden.set(keyOf(object), object);
      return;
    }
    model.seen(object, unsure);
    if (isDangling(object) || isHalfMade(object)) return;
    if (model.wanted(keyOf(object)) !== undefined) return;
    model.want(object);
    this.keep(object);
  }

  /** Among what a reading shows may be what others have made. */
  protected isOwn(_object: VppObject): boolean {
    return true;
  }

  protected keep(object: VppObject): void {
    this.#kept.add(keyOf(object));
  }

  // --- what is done

  /** Does a piece of what there is to do. True: nothing is left, or it waits for VPP. */
  step(): boolean {
    const generation = this.#generation;
    if (generation === undefined || this.#reading) return true;
    const { model } = this;
    if (!inPieces(this.#ctx.clock, () => model.scan(piece))) return false;
    if (this.#compares) {
      this.#compares = false;
      this.compared();
    }
    while (this.#flights < flights_max) {
      const operations = this.take(this.#settings.operations_max);
      if (operations.length === 0) break;
      this.#send(generation, operations);
    }
    if (this.#flights > 0) return true;
    if (model.failed.size > 0) this.#later();
    else this.#retries = 0;
    return !this.#told || !this.release();
  }

  /** The next operations. */
  protected take(max: number): readonly Operation[] {
    return this.model.take(max);
  }

  /** VPP has all that is wanted, but for what it refuses: what is in nobody's way any more goes, a piece of it. True: there was something. */
  protected release(): boolean {
    if (this.#kept.size > 0) {
      for (const key of someOf(this.#kept)) this.releaseOne(key);
      return true;
    }
    if (this.#hidden.size === 0) return false;
    // What is wanted has been added, whether it was there or not; the rest is removed like that: it would come to light one day.
    for (const [key, route] of someOf(this.#hidden))
      if (this.model.wanted(key) === undefined) this.model.seen(route, true);
    return true;
  }

  protected releaseOne(key: ObjectKey): void {
    this.model.unwant(key);
  }

  #send(generation: number, operations: readonly Operation[]): void {
    const life = this.#life;
    this.#flights += 1;
    const done = (outcome: TransactionResult | Error): void => {
      this.#ctx.tellSelf({ type: 'Transacted', life, outcome });
    };
    const transaction = {
      generation,
      owner: this.#owner,
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

  #transacted(life: number, outcome: TransactionResult | Error): void {
    if (life !== this.#life) return;
    this.#flights -= 1;
    if (outcome instanceof Error) {
      // Of a VPP that is lost the uplink tells. Of one that is there it is to be asked what it has done.
      this.#ctx.log.warn({ err: outcome }, `${this.#owner}(write) ${outcome.message}`);
      this.#newLife();
      this.#reading = true;
      return this.#later();
    }
    this.model.settle(outcome.outcomes);
    // What VPP has lost of this owner beside it is not among the outcomes.
    if (outcome.lost_state) this.compare();
    this.settled(outcome);
  }

  /** The outcomes are in the model. */
  protected settled(_outcome: TransactionResult): void {}

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

  #again(life: number): void {
    if (life !== this.#life || this.#generation === undefined) return;
    this.#retry = undefined;
    if (!this.#reading) return this.model.retry();
    const retries = this.#retries;
    this.#readAnew();
    this.#retries = retries;
  }

  // --- for people

  gauges() {
    return {
      desired: this.model.wanted_count,
      in_vpp: this.model.there_count,
      waiting: this.model.waiting + this.model.inFlight,
      refused: this.model.failed.size,
      kept: this.#kept.size,
    };
  }

  /** Objects that VPP refused, and why. */
  refused(): Readonly<Record<ObjectKey, string>> {
    const refused: Record<ObjectKey, string> = {};
    let left = named_max;
    for (const [key, { message }] of this.model.failed) {
      if (left === 0) break;
      left -= 1;
      refused[key] = message;
    }
    return refused;
  }
}
