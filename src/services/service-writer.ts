/**
 * Has VPP hold the translations and routes of services. Beside what any writer does it keeps the order in which no address leads nowhere: what
 * comes and what grows, then what shrinks, then what goes; it asks the pods' host ports before it takes a translation; it spares VPP
 * more updates of a large service than it can bear; and measures how long all of that takes.
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { NodeFacts } from '../messages/node.js';
import type { ServicesMessage } from '../messages/services.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { Translation } from '../objects/cnat.js';
import { canonical, keyOf, type ObjectKey, same, type VppObject } from '../objects/object.js';
import type { Operation } from '../reconcile/operation.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import type { TranslationOwner, TranslationOwners } from '../reconcile/translation-owners.js';
import { ObjectWriter, type WriterSettings } from '../writer/object-writer.js';
import { Latencies } from './latencies.js';
import { interval_ms } from './pace.js';

export interface ServiceWriterSettings extends WriterSettings {
  /** From the end of an address that others are told of to the end of its translation: they learn of it meanwhile. */
  readonly drain_ms: number;
}

export interface ServiceWriterDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly translations: TranslationOwners;
  /** Others than this node and its pods may be told of the address of this translation. */
  readonly isAnnounced: (translation: Translation) => boolean;
  /** `namespace/name` of the service that wants it. */
  readonly serviceOf: (key: ObjectKey) => string | undefined;
}

/** All translations of services are one owner's: which of them has one is not decided here. */
const by_services = { by: 'services', id: '' } as const;

function backendsOf(object: VppObject | undefined): number {
  return object?.kind === 'translation' ? object.backends.length : 0;
}

/** Some back end of `before` is not one of `now`. */
function shrinks(before: VppObject | undefined, now: VppObject): boolean {
  if (before?.kind !== 'translation' || now.kind !== 'translation') return false;
  const kept = new Set(now.backends.map(({ address, port }) => `${address} ${port}`));
  return before.backends.some(({ address, port }) => !kept.has(`${address} ${port}`));
}

export class ServiceWriter extends ObjectWriter {
  readonly latencies: Latencies;
  readonly #ctx: ActorContext<ServicesMessage>;
  readonly #deps: ServiceWriterDeps;
  readonly #drain_ms: number;
  /** Wanted no more, and when it may go. */
  readonly #leaving = new Map<ObjectKey, number>();
  /** Large ones that VPP was told of a moment ago: their next version, and when it may be told. */
  readonly #paced = new Map<ObjectKey, { object: VppObject | undefined; due_ms: number }>();
  /** What pods have for their host ports, and services want. */
  readonly #blocked = new Map<ObjectKey, { readonly object: Translation; readonly by: TranslationOwner }>();
  /** When the change came by which it is wanted so. */
  readonly #since = new Map<ObjectKey, number>();
  #since_ms: number | undefined;
  #due: Timer | undefined;
  #due_ms = Number.POSITIVE_INFINITY;
  /** By address, the translations that VPP has; and addresses of which that may be news. */
  readonly #programmed = new Map<string, Set<ObjectKey>>();
  readonly #told_anew = new Set<string>();
  #was_read = false;
  /** Transactions so far: one that was sent while VPP was audited makes its answer worthless. */
  #sent = 0;
  #audits = 0;
  #suspected = false;
  #drift = 0;
  #repaired = 0;

  constructor(ctx: ActorContext<ServicesMessage>, deps: ServiceWriterDeps, settings: ServiceWriterSettings) {
    super(ctx, deps.vpp, 'services', settings);
    this.#ctx = ctx;
    this.latencies = new Latencies(ctx.clock.wall_ms());
    this.#deps = deps;
    this.#drain_ms = settings.drain_ms;
    deps.translations.forget('services');
    deps.translations.hear('services', () => ctx.tellSelf({ type: 'Freed' }));
  }

  // --- what is wanted

  /** What is wanted from here on follows from changes of which the first came at `since_ms`. */
  beginPlan(since_ms: number | undefined): void {
    this.#since_ms = since_ms;
  }

  override want(object: VppObject): void {
    const key = keyOf(object);
    if (this.#leaving.delete(key) && object.kind === 'translation') this.#told_anew.add(object.address);
    if (object.kind === 'translation' && !this.#mayHave(object, key)) return;
    const paced = this.#paced.get(key);
    if (paced !== undefined && paced.due_ms > this.#now_ms) {
      paced.object = object;
      this.#note(key);
      return this.#wake(paced.due_ms);
    }
    super.want(object);
    const there = this.model.there(key);
    if (there === undefined || !same(canonical(object), there)) this.#note(key);
    else this.#since.delete(key);
  }

  #note(key: ObjectKey): void {
    if (this.#since_ms !== undefined && !this.#since.has(key)) this.#since.set(key, this.#since_ms);
  }

  override unwant(object: VppObject): void {
    const key = keyOf(object);
    this.#blocked.delete(key);
    const paced = this.#paced.get(key);
    if (paced !== undefined) paced.object = undefined;
    const wanted = this.model.wanted(key);
    // It may have been waiting for its turn.
    if (wanted === undefined) return this.#freeIfGone(key);
    const drains = wanted.kind === 'translation' && this.#deps.isAnnounced(wanted);
    const due_ms = this.#now_ms + (drains ? this.#drain_ms : 0);
    this.#leaving.set(key, due_ms);
    if (!drains) return this.#note(key);
    this.#told_anew.add(wanted.address);
    this.#wake(due_ms);
  }

  /** Undefined where it is nobody else's. */
  #mayHave(object: Translation, key: ObjectKey): boolean {
    const name = this.#deps.serviceOf(key) ?? 'a service';
    const by = this.#deps.translations.claim({ ...by_services, name: `Service ${name}` }, key);
    if (by === undefined) this.#blocked.delete(key);
    else this.#blocked.set(key, { object, by });
    return by === undefined;
  }

  /** Some of what pods had is free. */
  freed(): void {
    for (const { object } of [...this.#blocked.values()]) this.want(object);
  }

  /** By service, what pods have of it. */
  conflicts(): ReadonlyMap<string, readonly string[]> {
    const conflicts = new Map<string, string[]>();
    for (const [key, { object, by }] of this.#blocked) {
      const text = `${object.protocol} ${object.address} ${object.port} is the host port of ${by.name}: delete that pod, or use another node port`;
      const service = this.#deps.serviceOf(key) ?? '';
      const texts = conflicts.get(service);
      if (texts === undefined) conflicts.set(service, [text]);
      else texts.push(text);
    }
    return conflicts;
  }

  get #now_ms(): number {
    return this.#ctx.clock.now_ms();
  }

  #wake(due_ms: number): void {
    if (due_ms >= this.#due_ms) return;
    this.#due?.cancel();
    this.#due_ms = due_ms;
    this.#due = this.#ctx.after(Math.max(0, due_ms - this.#now_ms), { type: 'Due' });
  }

  /** What was waiting may be told, or go: with the next step. */
  due(): void {
    this.#due = undefined;
    this.#due_ms = Number.POSITIVE_INFINITY;
    const now_ms = this.#now_ms;
    let next_ms = Number.POSITIVE_INFINITY;
    for (const [key, { object, due_ms }] of this.#paced) {
      if (due_ms > now_ms) {
        next_ms = Math.min(next_ms, due_ms);
        continue;
      }
      this.#paced.delete(key);
      if (object !== undefined) super.want(object);
    }
    for (const due_ms of this.#leaving.values()) if (due_ms > now_ms) next_ms = Math.min(next_ms, due_ms);
    if (next_ms < Number.POSITIVE_INFINITY) this.#wake(next_ms);
  }

  // --- VPP

  override begin(ready: Pick<NodeFacts, 'generation' | 'vpp'>): void {
    this.#forgetVpp();
    super.begin(ready);
  }

  override lost(): void {
    this.#forgetVpp();
    super.lost();
  }

  #forgetVpp(): void {
    this.#audits += 1;
    this.#since.clear();
    for (const address of this.#programmed.keys()) this.#told_anew.add(address);
    this.#programmed.clear();
  }

  /** Another VPP need not be given what was to go, nor wait for what it was not told. */
  protected override renounce(told: boolean): void {
    for (const { object } of this.#paced.values()) if (object !== undefined) super.want(object);
    this.#paced.clear();
    for (const key of this.#leaving.keys()) {
      this.model.unwant(key);
      this.#deps.translations.releaseOne(by_services, key);
    }
    this.#leaving.clear();
    super.renounce(told);
  }

  #letGo(key: ObjectKey): void {
    this.model.unwant(key);
    this.#freeIfGone(key);
  }

  /** VPP does not have it, and nobody wants it. */
  #freeIfGone(key: ObjectKey): void {
    const { model } = this;
    if (model.wanted(key) !== undefined || model.there(key) !== undefined || model.isUnderWay(key)) return;
    this.#deps.translations.releaseOne(by_services, key);
  }

  protected override isOwn(object: VppObject): boolean {
    if (object.kind !== 'translation') return true;
    if (this.#deps.translations.of(keyOf(object))?.by === 'pods') return false;
    return true;
  }

  protected override compared(): void {
    for (const [address, keys] of this.#programmed) {
      for (const key of keys) if (this.model.there(key) === undefined) keys.delete(key);
      if (keys.size > 0) continue;
      this.#programmed.delete(address);
      this.#told_anew.add(address);
    }
    for (const object of this.model.allThere()) this.#recount(object);
    this.#was_read = true;
  }

  /** What VPP has was known once: since then it is known of each address whether it is served. */
  get wasRead(): boolean {
    return this.#was_read;
  }

  /** Whether VPP has this one, and whether that is news of its address. */
  #recount(object: VppObject): void {
    if (object.kind !== 'translation') return;
    const { address } = object;
    const key = keyOf(object);
    const keys = this.#programmed.get(address);
    const before = keys?.size ?? 0;
    if (this.model.there(key) === undefined) {
      keys?.delete(key);
      if (keys?.size === 0) this.#programmed.delete(address);
    } else if (keys === undefined) this.#programmed.set(address, new Set([key]));
    else keys.add(key);
    if ((before === 0) !== ((this.#programmed.get(address)?.size ?? 0) === 0)) this.#told_anew.add(address);
  }

  /** Addresses of which that has changed since this was asked last: whether VPP has a translation of them that does not go in a moment. */
  programmedChanges(): ReadonlyMap<string, boolean> {
    const changes = new Map([...this.#told_anew].map((address) => [address, this.#isProgrammed(address)]));
    this.#told_anew.clear();
    return changes;
  }

  /** All addresses of which VPP has one. */
  programmedNow(): ReadonlyMap<string, boolean> {
    this.#told_anew.clear();
    return new Map([...this.#programmed.keys()].map((address) => [address, this.#isProgrammed(address)]));
  }

  #isProgrammed(address: string): boolean {
    for (const key of this.#programmed.get(address) ?? []) if (!this.#leaving.has(key)) return true;
    return false;
  }

  protected override take(max: number): readonly Operation[] {
    let operations = super.take(max);
    if (operations.length === 0 && this.#release()) operations = super.take(max);
    if (operations.length > 0) this.#sent += 1;
    const now_ms = this.#now_ms;
    const coming: Operation[] = [];
    const shrinking: Operation[] = [];
    const going: Operation[] = [];
    for (const operation of operations) {
      const { action, object } = operation;
      const before = this.model.there(keyOf(object));
      const pace_ms = interval_ms(Math.max(backendsOf(object), backendsOf(before)));
      if (action === 'add' && pace_ms > 0) this.#pace(keyOf(object), now_ms + pace_ms);
      if (action === 'remove' && this.model.wanted(keyOf(object)) === undefined) going.push(operation);
      else if (action === 'add' && shrinks(before, object)) shrinking.push(operation);
      else coming.push(operation);
    }
    return [...coming, ...shrinking, ...going];
  }

  #pace(key: ObjectKey, due_ms: number): void {
    this.#paced.set(key, { object: undefined, due_ms });
    this.#wake(due_ms);
  }

  /** All that comes is on its way: what goes may follow it. True: some of it is due. */
  #release(): boolean {
    const now_ms = this.#now_ms;
    let some = false;
    for (const [key, due_ms] of this.#leaving) {
      if (due_ms > now_ms) continue;
      this.#leaving.delete(key);
      this.#letGo(key);
      some = true;
    }
    return some;
  }

  /** What nobody has asked for may be a pod's, as long as the pods have not said what is theirs. */
  protected override release(): boolean {
    return this.#deps.translations.isComplete && super.release();
  }

  protected override releaseOne(key: ObjectKey): void {
    const by = this.#deps.translations.claim({ ...by_services, name: 'a service that is gone' }, key);
    if (by !== undefined && this.model.there(key)?.kind === 'translation') this.model.disown(key);
    else super.releaseOne(key);
  }

  protected override settled({ outcomes }: TransactionResult): void {
    const now_ms = this.#now_ms;
    for (const { operation, error } of outcomes) {
      const { object } = operation;
      const key = keyOf(object);
      this.#freeIfGone(key);
      this.#recount(object);
      const since_ms = this.#since.get(key);
      if (error !== undefined || since_ms === undefined || this.model.isUnderWay(key)) continue;
      this.#since.delete(key);
      this.latencies.event_to_vpp.record(now_ms - since_ms);
    }
  }

  override step(): boolean {
    const is_done = super.step();
    if (is_done && this.isQuiet && this.model.waiting === 0)
      this.latencies.programmed(this.#ctx.clock.wall_ms());
    return is_done;
  }

  // --- audit

  /**
   * Compares what VPP has with what it should have, in passing: nothing is kept of what it shows. It is put right once two audits in a row have
   * found something. While something is on its way nothing is compared.
   */
  audit(): void {
    if (!this.isQuiet || this.model.waiting > 0) return;
    this.#audits += 1;
    const audit = this.#audits;
    const sent = this.#sent;
    let other = 0;
    let alike = 0;
    const take = (object: VppObject): void => {
      if (audit !== this.#audits || !this.isOwn(object)) return;
      const there = this.model.there(keyOf(object));
      if (there !== undefined && same(there, canonical(object))) alike += 1;
      else other += 1;
    };
    const done = (snapshot: Snapshot | Error): void => {
      if (snapshot instanceof Error) return;
      for (const object of snapshot.objects) take(object);
      const missing = Math.max(0, this.model.there_count - alike - other);
      if (audit === this.#audits && sent === this.#sent)
        this.#ctx.tellSelf({ type: 'Audited', audit, drift: other + missing });
    };
    this.readWith(take).then(done, done);
  }

  /** True: it is to be looked at again soon. */
  audited(audit: number, drift: number): boolean {
    if (audit !== this.#audits) return false;
    this.#drift = drift;
    const again = drift > 0 && !this.#suspected;
    if (drift > 0 && this.#suspected) {
      this.#repaired += 1;
      this.#ctx.log.warn({ drift }, 'services(audit) VPP has not what it was told to have: it is put right');
      this.#ctx.event('drift', `${drift} translations or routes were not as they should be`);
      this.compare();
    }
    this.#suspected = again;
    return again;
  }

  /** For people: all translations as VPP has them now, each with its back ends. */
  async dump(): Promise<ReadonlyMap<ObjectKey, Translation>> {
    const all = new Map<ObjectKey, Translation>();
    const take = (object: VppObject): void => {
      if (object.kind === 'translation') all.set(keyOf(object), object);
    };
    for (const object of (await this.readWith(take)).objects) take(object);
    return all;
  }

  // --- for people

  thereAt(key: ObjectKey): VppObject | undefined {
    return this.model.there(key);
  }

  stateOf(key: ObjectKey): {
    readonly state: string;
    readonly wanted: VppObject | undefined;
    readonly there: VppObject | undefined;
  } {
    const { model } = this;
    const blocked = this.#blocked.get(key);
    const wanted = blocked?.object ?? this.#paced.get(key)?.object ?? model.wanted(key);
    const there = model.there(key);
    const refused = model.failed.get(key);
    let state = 'waiting';
    if (blocked !== undefined) state = `blocked: it is the host port of ${blocked.by.name}`;
    else if (refused !== undefined) state = `refused: ${refused.message}`;
    else if (this.#leaving.has(key)) state = 'going';
    else if (wanted !== undefined && there !== undefined && same(canonical(wanted), there))
      state = 'programmed';
    return { state, wanted, there };
  }

  /** VPP has, or refuses, a version of all that is wanted. What is still to go, or comes later for its size, keeps nobody waiting. */
  get hasAll(): boolean {
    return this.isQuiet && super.gauges().waiting === 0;
  }

  override gauges() {
    const { waiting, ...gauges } = super.gauges();
    // A pause in which nothing new has come keeps nobody waiting.
    let paced = 0;
    for (const { object } of this.#paced.values()) if (object !== undefined) paced += 1;
    return {
      ...gauges,
      waiting: waiting + paced + this.#leaving.size,
      blocked: this.#blocked.size,
      drift: this.#drift,
      repaired: this.#repaired,
    };
  }
}
