/**
 * Has VPP's npol hold what policies want. One round after the other: what was touched is planned, then added from sets to interfaces, and
 * when VPP has answered all of that, what is no longer referred to is removed, from policies to sets.
 *
 * On the way no flow gets a verdict that it has neither before nor after: a round whose changes VPP does not take in by one message is made
 * beside what is there, in copies of the sets, rules and policies that change, and each interface is switched to them by one message. Of sets
 * that are too large for that members are added before, and removed after.
 *
 * VPP shows nothing of npol: what it has is known from its answers alone, for as long as one session lasts. After it all is made anew under
 * new numbers, each interface is switched by one message, and what is left is removed.
 *
 *   NpolThere  what VPP has      NpolFaults  what it refuses      NpolNumbers  how many numbers it has given out      NpolPlan  a round
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { NodeFacts } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { WriterMessage } from '../messages/writer.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { members_max, type NpolInterfaceObject } from '../objects/policy.js';
import type { NpolObjects, TouchedObjects } from '../policies/objects.js';
import type { Operation } from '../reconcile/operation.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import { NpolFaults } from './npol-faults.js';
import { addMarks, emptyMarks } from './npol-marks.js';
import { NpolNumbers } from './npol-numbers.js';
import { settleOutcome } from './npol-outcomes.js';
import { type MemberSources, NpolPlan } from './npol-plan.js';
import { NpolThere } from './npol-there.js';
import type { WriterSettings } from './object-writer.js';

export interface NpolWriterDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  /** What npol is to have. It must not change while `isPlanning`. */
  readonly objects: NpolObjects;
  /** As long as `isPlanning` none of them changes. */
  readonly sets: MemberSources;
}

export type NpolWriterContext = Pick<
  ActorContext<WriterMessage>,
  'ask' | 'tellSelf' | 'after' | 'log' | 'clock'
>;

/** One waits for its turn in the connection while VPP does the other. */
const flights_max = 2;
/** Members that one transaction carries: all that VPP is asked at once, and it takes a microsecond to write one into a message. */
const transaction_members_max = 4 * members_max;

export class NpolWriter {
  readonly #ctx: NpolWriterContext;
  readonly #deps: NpolWriterDeps;
  readonly #settings: WriterSettings;
  #life = 0;
  #generation: number | undefined;
  #reading = false;
  /** What is to be looked at. */
  #dirty = emptyMarks();
  /** Sets of Felix's whose members may have changed. */
  #changed_sets = new Set<string>();
  /** Interfaces that are to be told whatever is known of them. */
  readonly #forced = new Set<InterfaceTag>();
  #plan: NpolPlan | undefined;
  /** As the plan has made them; in a sweep, and behind members that go, `going` is what is removed. */
  #filling: Operation[] = [];
  #coming: Operation[] = [];
  #going: Operation[] = [];
  /** What is removed behind that. */
  #unused: Iterator<Operation> | undefined;
  #phase: 'idle' | 'adding' | 'removing' | 'sweeping' = 'idle';
  #flights = 0;
  /** VPP has not answered all of the sets: nothing may be judged by them yet. */
  #fills = false;
  #retry: Timer | undefined;
  #retries = 0;
  readonly #there = new NpolThere();
  readonly #faults = new NpolFaults(this.#there);
  readonly #numbers = new NpolNumbers();
  /** Of which VPP has answered since somebody has looked. */
  #answered = new Set<InterfaceTag>();

  constructor(ctx: NpolWriterContext, deps: NpolWriterDeps, settings: WriterSettings) {
    this.#ctx = ctx;
    this.#deps = deps;
    this.#settings = settings;
  }

  // --- what is wanted

  /** What may differ from what VPP was told. */
  touch(touched: TouchedObjects): void {
    addMarks(this.#dirty, touched);
    for (const name of touched.policies) this.#faults.policyChanges(name);
  }

  /** Members of these sets of Felix's may have changed. */
  touchSets(ids: Iterable<string>): void {
    for (const id of ids) this.#changed_sets.add(id);
  }

  /** Somebody else may have told VPP of this interface. */
  force(tag: InterfaceTag): void {
    this.#forced.add(tag);
    this.#dirty.interfaces.add(tag);
  }

  /** Neither what is wanted nor members of sets may change now. */
  get isPlanning(): boolean {
    return this.#plan !== undefined;
  }

  // --- VPP

  begin({ generation }: Pick<NodeFacts, 'generation'>): void {
    this.#void();
    this.#generation = generation;
    this.#forgetAll();
    this.#read();
  }

  lost(): void {
    this.#void();
    this.#generation = undefined;
  }

  get generation(): number | undefined {
    return this.#generation;
  }

  #void(): void {
    this.#life += 1;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#retries = 0;
    this.#plan = undefined;
    this.#filling = [];
    this.#coming = [];
    this.#going = [];
    this.#unused = undefined;
    this.#phase = 'idle';
    this.#flights = 0;
    this.#fills = false;
    this.#reading = false;
  }

  /** Nothing is known of what this VPP has, nor of what it was asked. */
  #forgetAll(): void {
    this.#there.clear();
    this.#faults.clear();
    this.#forced.clear();
    this.touch(this.#deps.objects.names());
  }

  /** How far an earlier life has got. */
  #read(): void {
    const life = this.#life;
    this.#reading = true;
    const done = (snapshot: Snapshot | Error): void => this.#ctx.tellSelf({ type: 'Read', life, snapshot });
    this.#ctx
      .ask<VppConnectionMessage, Snapshot>(
        this.#deps.vpp,
        (reply) => ({ type: 'Read', scopes: ['policies'], reply }),
        this.#settings.read_ms,
      )
      .then(done, done);
  }

  /** What it has told itself, by the mailbox of its actor. */
  hear(message: WriterMessage): void {
    switch (message.type) {
      case 'Read':
        return this.#heardWhatThereIs(message.life, message.snapshot);
      case 'Transacted':
        return this.#transacted(message.life, message.outcome);
      case 'Retry':
        return this.#again(message.life);
    }
  }

  #heardWhatThereIs(life: number, snapshot: Snapshot | Error): void {
    if (life !== this.#life) return;
    if (snapshot instanceof Error) {
      this.#ctx.log.warn(
        { err: snapshot },
        `policies(read) VPP does not tell what it has: ${snapshot.message}`,
      );
      return this.#later();
    }
    this.#reading = false;
    this.#numbers.heard(snapshot);
  }

  // --- what is done

  /** VPP has answered all that comes, and nothing new is wanted: it has that, or refuses it. What goes may still be there. */
  get isSettled(): boolean {
    return this.#generation !== undefined && !this.#reading && this.#phase !== 'adding' && !this.#hasWork;
  }

  get #hasWork(): boolean {
    const { interfaces, policies, rules, sets } = this.#dirty;
    return (
      this.#plan !== undefined ||
      interfaces.size + policies.size + rules.size + sets.size + this.#changed_sets.size > 0
    );
  }

  get #isIdle(): boolean {
    return this.#phase === 'idle';
  }

  /** Does a piece of what there is to do; `complete`: all that is wanted has been told. True: nothing is left, or it waits for VPP. */
  step(complete: boolean): boolean {
    if (this.#generation === undefined || this.#reading) return true;
    if (!this.#isIdle) {
      this.#send();
      return true;
    }
    if (this.#plan === undefined) {
      if (!this.#hasWork) return !(complete && this.#sweep());
      this.#plan = this.#newPlan();
    }
    if (!this.#plan.step()) return false;
    this.#begin(this.#plan);
    this.#plan = undefined;
    this.#send();
    return !this.#isIdle;
  }

  #newPlan(): NpolPlan {
    const { objects, sets } = this.#deps;
    const looked = { dirty: this.#dirty, changed_sets: this.#changed_sets, forced: this.#forced };
    this.#dirty = emptyMarks();
    this.#changed_sets = new Set();
    return new NpolPlan({ objects, sets, there: this.#there, faults: this.#faults }, looked);
  }

  #begin({ filling, coming, going, comes }: NpolPlan): void {
    const written = this.#numbers.grow(this.#there.counts, comes);
    this.#filling = written === undefined ? filling : [written, ...filling];
    this.#coming = coming;
    this.#going = going;
    this.#phase = 'adding';
  }

  #send(): void {
    while (!this.#isIdle && this.#flights < flights_max) {
      const operations = this.#nextOperations();
      if (operations.length === 0) break;
      this.#fly(operations);
    }
  }

  #nextOperations(): readonly Operation[] {
    if (this.#filling.length > 0) {
      this.#fills = true;
      return this.#cut(this.#filling);
    }
    if (this.#fills) {
      if (this.#flights > 0) return [];
      this.#fills = false;
      this.#coming = this.#faults.closeUnfilled(this.#coming);
    }
    if (this.#coming.length > 0) return this.#cut(this.#coming);
    if (this.#flights > 0) return [];
    // All that comes is answered: what refers to nothing any more is known.
    if (this.#phase === 'adding') {
      this.#phase = 'removing';
      this.#unused = this.#there.unused(this.#deps.objects);
    }
    this.#takeUnused();
    if (this.#going.length > 0) return this.#cut(this.#going);
    this.#ended();
    return [];
  }

  /** So many that a transaction is full, and no more: to look for them takes time. */
  #takeUnused(): void {
    while (this.#unused !== undefined && this.#going.length < this.#settings.operations_max) {
      const { value, done } = this.#unused.next();
      if (done === true) this.#unused = undefined;
      else this.#going.push(value);
    }
  }

  #cut(queue: Operation[]): readonly Operation[] {
    let members = 0;
    let count = 0;
    while (count < queue.length && count < this.#settings.operations_max) {
      const { object } = queue[count]!;
      if (object.kind === 'npol_members') members += object.prefixes.length;
      if (members > transaction_members_max && count > 0) break;
      count += 1;
    }
    return queue.splice(0, count);
  }

  #ended(): void {
    if (this.#phase === 'sweeping') this.#numbers.isSwept();
    this.#phase = 'idle';
    for (const tag of this.#faults.takeTurned()) this.#answered.add(tag);
    addMarks(this.#dirty, { ...emptyMarks(), ...this.#faults.toBeTurned(this.#deps.objects) });
    if (this.#faults.count > 0) this.#later();
    else this.#retries = 0;
  }

  /** True: there is something. */
  #sweep(): boolean {
    if (!this.#numbers.hasRemains || this.#faults.keepsEarlier) return false;
    this.#going = this.#numbers.sweep(this.#there.counts);
    this.#phase = 'sweeping';
    this.#send();
    return true;
  }

  #fly(operations: readonly Operation[]): void {
    const life = this.#life;
    const generation = this.#generation!;
    this.#flights += 1;
    const done = (outcome: TransactionResult | Error): void =>
      this.#ctx.tellSelf({ type: 'Transacted', life, outcome });
    const transaction = {
      generation,
      owner: 'policies',
      operations,
      on_error: 'continue',
      urgency: 'bulk',
    } as const;
    this.#ctx
      .ask<VppConnectionMessage, TransactionResult>(
        this.#deps.vpp,
        (reply) => ({ type: 'Transact', transaction, reply }),
        this.#settings.transaction_ms,
      )
      .then(done, done);
  }

  #transacted(life: number, outcome: TransactionResult | Error): void {
    if (life !== this.#life) return;
    this.#flights -= 1;
    if (outcome instanceof Error) {
      // Of a VPP that is lost the uplink tells. Of one that is there nobody knows what it has done: all is told again.
      this.#ctx.log.warn({ err: outcome }, `policies(write) ${outcome.message}`);
      const generation = this.#generation;
      const retries = this.#retries;
      this.#void();
      this.#generation = generation;
      this.#retries = retries;
      this.#reading = true;
      return this.#later();
    }
    const parts = { there: this.#there, faults: this.#faults, numbers: this.#numbers };
    for (const one of outcome.outcomes) {
      settleOutcome(parts, one);
      const { action, object } = one.operation;
      if (action === 'add' && object.kind === 'npol_interface') this.#answered.add(object.interface);
    }
    this.#send();
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

  #again(life: number): void {
    if (life !== this.#life || this.#generation === undefined) return;
    this.#retry = undefined;
    if (!this.#reading) {
      // A round under way closes policies by what is known of faults.
      if (this.isPlanning || !this.#isIdle) return this.#later();
      return this.touch(this.#faults.takeDeferred());
    }
    this.#forgetAll();
    this.#read();
  }

  // --- for people

  gauges() {
    const { counts, told } = this.#there;
    const queued = this.#filling.length + this.#coming.length + this.#going.length;
    return {
      ...counts,
      interfaces: told.size,
      in_vpp: counts.sets + counts.rules + counts.policies + told.size,
      waiting: queued + (this.#hasWork ? 1 : 0) + (this.#unused === undefined ? 0 : 1),
      refused: this.#faults.count,
    };
  }

  /** Objects that VPP refused, and why. */
  refused(): Readonly<Record<string, string>> {
    return this.#faults.named();
  }

  /** Interfaces of which the state may have changed since this was asked last. */
  takeAnswered(): ReadonlySet<InterfaceTag> {
    const answered = this.#answered;
    this.#answered = new Set();
    return answered;
  }

  /** What VPP judges this interface by, as it was told last; undefined: by nothing that this process knows of. */
  programmed(tag: InterfaceTag): NpolInterfaceObject | undefined {
    return this.#there.interface(tag);
  }

  /** Whether VPP judges this interface by what is wanted of it, or why not. */
  stateOf(tag: InterfaceTag): 'enforced' | 'waiting' | Error {
    const wanted = this.#deps.objects.interface(tag);
    if (wanted === undefined) return 'waiting';
    const failed = this.#faults.of(`npol_interface:${tag}`);
    if (failed !== undefined) return failed;
    if (this.#there.told.get(tag) !== this.#there.interfaceText(wanted)) return 'waiting';
    const closed = this.#faults.closedOf(wanted);
    return closed === undefined ? 'enforced' : new Error(`${closed} is not taken by VPP: it denies`);
  }
}
