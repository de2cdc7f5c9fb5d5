/**
 * Has VPP's npol hold what policies want, without a verdict on the way that neither the state before nor the one after has. One round after
 * the other: what was touched is planned, then added from sets to interfaces, and when VPP has answered all of that, what is no longer
 * referred to is removed from policies to sets. VPP shows nothing of npol: what it has is known from its answers alone, for as long as
 * one session lasts. After it all is made anew under new numbers, each interface is switched by one message, and what is left is removed.
 */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import { AddressSet, type PackedPrefix, prefixText } from '../felix/address-set.js';
import type { Change } from '../felix/set.js';
import { type FelixSet, no_port } from '../felix/set.js';
import type { NodeReady } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { WriterMessage } from '../messages/writer.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  type NpolPolicy,
  type NpolRule,
  type RuleName,
  ruleName,
  type SetName,
  type SetRef,
  setName,
  setsOf,
} from '../objects/npol.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import {
  members_max,
  type NpolInterfaceObject,
  type NpolMarks,
  type NpolPolicyObject,
  type NpolPool,
  npol_pools,
} from '../objects/policy.js';
import { interfaceObject, type NpolObjects, type TouchedObjects } from '../policies/objects.js';
import { membersOf } from '../policies/set-members.js';
import { deny_all } from '../policies/translate.js';
import type { Operation, Outcome } from '../reconcile/operation.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import type { WriterSettings } from './object-writer.js';

/** Sets of Felix's, and those that are this node's own, by id. */
export type MemberSources = Pick<ReadonlyMap<string, FelixSet | Pick<FelixSet, 'members'>>, 'get'>;

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

/** Members that are looked at in one turn of the event loop. */
const piece = 1024;
/** One waits for its turn in the connection while VPP does the other. */
const flights_max = 2;
/** Members that one transaction carries. */
const transaction_members_max = 64 * members_max;
/** Removing a member VPP looks at all: more than so many comparisons take it longer than to be given a new set. */
const comparisons_max = 1_000_000;
/** Of what VPP refuses, so much is named. */
const named_max = 100;
/** Numbers of a pool that one operation looks at. */
const remains_piece = 16;
/** The least that a pool is said to have had. */
const mark_min = 64;

/** A set that VPP has. */
interface KnownSet {
  readonly ref: SetRef;
  /** What VPP has in it, or is just being told. */
  readonly members: AddressSet;
}

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
  readonly #changed_sets = new Set<string>();
  /** Interfaces that are to be told whatever is known of them. */
  readonly #forced = new Set<InterfaceTag>();
  #plan: Generator<void> | undefined;
  /** What is to be sent: first what comes, then members that go. */
  #coming: Operation[] = [];
  #going: Operation[] = [];
  #phase: 'idle' | 'adding' | 'removing' | 'sweeping' = 'idle';
  #flights = 0;
  #retry: Timer | undefined;
  #retries = 0;

  // --- what VPP has
  readonly #sets = new Map<SetName, KnownSet>();
  /** By set of Felix's, the sets of VPP's that are made of it. */
  readonly #made_of = new Map<string, Set<SetName>>();
  readonly #rules = new Map<RuleName, readonly SetName[]>();
  readonly #policies = new Map<string, readonly RuleName[]>();
  readonly #interfaces = new Map<InterfaceTag, readonly string[]>();
  /** As each interface was told last. */
  readonly #told = new Map<InterfaceTag, string>();
  /** Of which VPP has answered since somebody has looked. */
  #answered = new Set<InterfaceTag>();
  readonly #set_uses = new Counts();
  readonly #rule_uses = new Counts();
  readonly #policy_uses = new Counts();
  /** What VPP refuses, and why. */
  readonly #failed = new Map<ObjectKey, Error>();
  /** What is tried again after a while. */
  #deferred = emptyMarks();
  /** Policies in whose place VPP has one that denies everything. */
  readonly #closed = new Set<string>();
  /** What has nobody any more who wants it, or who refers to it: perhaps. */
  readonly #idle = emptyMarks();
  /** Numbers below these may have been given out. */
  #marks: Record<NpolPool, number> = { rules: 0, policies: 0, sets: 0 };
  /** Of these some are an earlier life's. */
  #remains: Record<NpolPool, number> | undefined;

  constructor(ctx: NpolWriterContext, deps: NpolWriterDeps, settings: WriterSettings) {
    this.#ctx = ctx;
    this.#deps = deps;
    this.#settings = settings;
  }

  // --- what is wanted

  /** What may differ from what VPP was told. */
  touch({ interfaces, policies, rules, sets }: TouchedObjects): void {
    for (const name of interfaces) this.#dirty.interfaces.add(name);
    for (const name of policies) this.#dirty.policies.add(name);
    for (const name of rules) this.#dirty.rules.add(name);
    for (const name of sets) this.#dirty.sets.add(name);
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

  begin({ generation }: Pick<NodeReady, 'generation'>): void {
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
    this.#coming = [];
    this.#going = [];
    this.#phase = 'idle';
    this.#flights = 0;
    this.#reading = false;
  }

  /** Nothing is known of what this VPP has, nor of what it was asked. */
  #forgetAll(): void {
    for (const known of [
      this.#sets,
      this.#made_of,
      this.#rules,
      this.#policies,
      this.#interfaces,
      this.#told,
    ])
      known.clear();
    for (const counts of [this.#set_uses, this.#rule_uses, this.#policy_uses]) counts.clear();
    this.#failed.clear();
    this.#forced.clear();
    this.#closed.clear();
    this.#deferred = emptyMarks();
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
    const marks = snapshot.objects.find((object) => object.kind === 'npol_marks');
    this.#marks = { rules: 0, policies: 0, sets: 0, ...marks?.below };
    this.#remains = marks === undefined ? undefined : { ...this.#marks };
  }

  // --- what is done

  /** What VPP has is known, nothing is on its way, and nothing is to be done. */
  get isQuiet(): boolean {
    return this.#generation !== undefined && !this.#reading && this.#phase === 'idle' && !this.#hasWork;
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
    if (this.#phase !== 'idle') {
      this.#send();
      return true;
    }
    if (this.#plan === undefined) {
      if (!this.#hasWork) return !(complete && this.#sweep());
      this.#plan = this.#planned();
    }
    if (this.#plan.next().done !== true) return false;
    this.#plan = undefined;
    this.#phase = 'adding';
    this.#send();
    return !this.#isIdle;
  }

  /** The next round: what comes in the order in which it is referred to, and the members that go. */
  *#planned(): Generator<void> {
    const { objects } = this.#deps;
    const dirty = this.#dirty;
    this.#dirty = emptyMarks();
    const made = yield* this.#planSets(dirty.sets);
    this.#planRules(dirty.rules, made);
    for (const name of dirty.policies) this.#planPolicy(name);
    for (const tag of dirty.interfaces) {
      const wanted = objects.interface(tag);
      if (wanted === undefined) {
        if (this.#interfaces.has(tag)) this.#going.push({ action: 'remove', object: emptyInterface(tag) });
        continue;
      }
      const object = interfaceObject(wanted);
      if (this.#told.get(tag) === JSON.stringify(object) && !this.#forced.has(tag)) continue;
      this.#forced.delete(tag);
      this.#coming.push({ action: 'add', object });
    }
    this.#mark();
  }

  /** `made`: sets that are made anew, so that rules which VPP has refer to another one. */
  #planRules(dirty: ReadonlySet<RuleName>, made: ReadonlySet<SetName>): void {
    const { objects } = this.#deps;
    const names = new Set(dirty);
    if ([...made].some((name) => this.#set_uses.of(name) > 0))
      for (const [name, sets] of this.#rules) if (sets.some((set) => made.has(set))) names.add(name);
    for (const name of names) {
      const rule = objects.rule(name);
      if (rule === undefined) this.#idle.rules.add(name);
      else if (!this.#rules.has(name) || this.#rules.get(name)!.some((set) => made.has(set)))
        this.#coming.push(ruleOperation(name, rule));
    }
  }

  #planPolicy(name: string): void {
    const policy = this.#deps.objects.policy(name);
    if (policy === undefined) {
      this.#idle.policies.add(name);
      return;
    }
    const rx = policy.rx.map(ruleName);
    const tx = policy.tx.map(ruleName);
    if (!this.#isBroken(name, policy)) {
      this.#closed.delete(name);
      this.#coming.push(policyOperation(name, rx, tx));
      return;
    }
    this.#closed.add(name);
    const denies = ruleName(deny_all);
    if (!this.#rules.has(denies)) this.#coming.push(ruleOperation(denies, deny_all));
    const closed = (rules: readonly RuleName[]): readonly RuleName[] => (rules.length === 0 ? [] : [denies]);
    this.#coming.push(policyOperation(name, closed(rx), closed(tx)));
  }

  /** VPP refuses it, or something that it is made of. */
  #isBroken(name: string, { rx, tx }: Pick<NpolPolicy, 'rx' | 'tx'>): boolean {
    const failed = this.#failed;
    if (failed.size === 0) return false;
    if (failed.has(`npol_policy:${name}`)) return true;
    return [...rx, ...tx].some(
      (rule) =>
        failed.has(`npol_rule:${ruleName(rule)}`) ||
        setsOf(rule.match).some(
          (ref) => failed.has(`npol_set:${setName(ref)}`) || failed.has(`npol_members:${setName(ref)}`),
        ),
    );
  }

  /** Policies that are to be closed, or to be what they are again; and interfaces that wait for that. */
  #lookForBroken(): void {
    if (this.#failed.size === 0 && this.#closed.size === 0) return;
    const { objects } = this.#deps;
    let some = false;
    for (const name of objects.names().policies) {
      if (this.#isBroken(name, objects.policy(name)!) === this.#closed.has(name)) continue;
      this.#dirty.policies.add(name);
      some = true;
    }
    if (!some) return;
    for (const tag of this.#deferred.interfaces) this.#dirty.interfaces.add(tag);
    this.#deferred.interfaces.clear();
  }

  /** Answers which of them are made, or made anew. */
  *#planSets(dirty: ReadonlySet<SetName>): Generator<void, ReadonlySet<SetName>> {
    const { objects, sets: sources } = this.#deps;
    const hints = new Map<string, ReadonlyMap<number, Change> | undefined>();
    const names = new Set(dirty);
    for (const id of this.#changed_sets) {
      const made = this.#made_of.get(id);
      const source = sources.get(id);
      if (made === undefined || source === undefined) continue;
      hints.set(id, 'take' in source ? source.take() : undefined);
      for (const name of made) names.add(name);
    }
    this.#changed_sets.clear();
    const made = new Set<SetName>();
    const making: Operation[] = [];
    const filling: Operation[] = [];
    for (const name of names) {
      const ref = objects.set(name);
      if (ref === undefined) {
        this.#idle.sets.add(name);
        continue;
      }
      const known = this.#sets.get(name);
      if (known !== undefined && (yield* this.#fill(name, known, sources, hints, filling))) continue;
      if (known !== undefined) {
        this.#forgetSet(name, known.ref);
        this.#leaves('sets');
      }
      made.add(name);
      making.push({ action: 'add', object: { kind: 'npol_set', name, ports: ref.port !== undefined } });
      const fresh = { ref, members: new AddressSet() };
      this.#sets.set(name, fresh);
      for (const id of ref.ids) {
        this.#madeOf(id).add(name);
        // From now on its changes are remembered.
        const source = sources.get(id);
        if (source !== undefined && 'take' in source && !hints.has(id)) source.take();
      }
      yield* this.#fill(name, fresh, sources, undefined, filling);
    }
    this.#coming.push(...making, ...filling);
    return made;
  }

  /** One of a pool is in VPP that has no name any more. */
  #leaves(pool: NpolPool): void {
    this.#remains ??= { rules: 0, policies: 0, sets: 0 };
    this.#remains[pool] += 1;
  }

  /** Has the set's members be what they are to be. False: it would take VPP too long, nothing was done. */
  *#fill(
    name: SetName,
    { ref, members }: KnownSet,
    sources: MemberSources,
    hints: ReadonlyMap<string, ReadonlyMap<number, Change> | undefined> | undefined,
    filling: Operation[],
  ): Generator<void, boolean> {
    const added: string[] = [];
    const removed: string[] = [];
    const { port } = ref;
    const flush = (texts: string[], action: 'add' | 'remove', least: number): void => {
      while (texts.length >= least && texts.length > 0) {
        const prefixes = texts.splice(0, members_max);
        const object = {
          kind: 'npol_members',
          set: name,
          prefixes,
          ...(port !== undefined && { port }),
        } as const;
        (action === 'add' ? filling : this.#going).push({ action, object });
      }
    };
    let count = 0;
    const [only] = ref.ids;
    const hint = ref.ids.length === 1 ? hints?.get(only!) : undefined;
    const wanted = membersOf(ref, sources);
    const coming: PackedPrefix[] = [];
    const leaving: PackedPrefix[] = [];
    if (hint !== undefined) {
      const change = hint.get(port ?? no_port);
      for (const some of [change?.added, change?.removed])
        for (const prefix of some ?? []) {
          if (wanted.has(prefix) !== members.has(prefix))
            (wanted.has(prefix) ? coming : leaving).push(copied(prefix));
          if (++count % piece === 0) yield;
        }
    } else {
      if (members.size > 0)
        for (const prefix of members) {
          if (!wanted.has(prefix)) leaving.push(copied(prefix));
          if (++count % piece === 0) yield;
        }
      for (const prefix of wanted) {
        if (!members.has(prefix)) coming.push(copied(prefix));
        if (++count % piece === 0) yield;
      }
    }
    if (leaving.length * (members.size + coming.length) > comparisons_max) return false;
    for (const prefix of coming) {
      members.add(prefix);
      added.push(prefixText(prefix));
      flush(added, 'add', members_max);
      if (++count % piece === 0) yield;
    }
    for (const prefix of leaving) {
      members.delete(prefix);
      removed.push(prefixText(prefix));
    }
    flush(added, 'add', 1);
    flush(removed, 'remove', 1);
    return true;
  }

  #madeOf(id: string): Set<SetName> {
    let names = this.#made_of.get(id);
    if (names === undefined) {
      names = new Set();
      this.#made_of.set(id, names);
    }
    return names;
  }

  /** Written before the first number beyond it is given out. */
  #mark(): void {
    const coming: Record<NpolPool, number> = { rules: 0, policies: 0, sets: 0 };
    for (const { object } of this.#coming) {
      const pool = pool_of_kind[object.kind];
      if (pool !== undefined) coming[pool] += 1;
    }
    const there = { rules: this.#rules.size, policies: this.#policies.size, sets: this.#sets.size };
    const below = { ...this.#marks };
    for (const pool of npol_pools) {
      const needed = there[pool] + coming[pool] + (this.#remains?.[pool] ?? 0);
      while (below[pool] < needed) below[pool] = Math.max(mark_min, below[pool] * 2);
    }
    if (npol_pools.every((pool) => below[pool] === this.#marks[pool])) return;
    this.#marks = below;
    const object: NpolMarks = { kind: 'npol_marks', below };
    this.#coming.unshift({ action: 'add', object });
  }

  // --- rounds

  #send(): void {
    while (this.#phase !== 'idle' && this.#flights < flights_max) {
      const operations = this.#nextOperations();
      if (operations.length === 0) break;
      this.#fly(operations);
    }
  }

  #nextOperations(): readonly Operation[] {
    if (this.#coming.length > 0) return this.#cut(this.#coming);
    if (this.#flights > 0) return [];
    // All that comes is answered: what refers to nothing any more is known.
    if (this.#phase === 'adding') {
      this.#phase = 'removing';
      this.#going.push(...this.#unused());
    }
    if (this.#going.length > 0) return this.#cut(this.#going);
    this.#ended();
    return [];
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

  /** What VPP has and nobody wants, once nothing that it has refers to it. */
  #unused(): Operation[] {
    const { objects } = this.#deps;
    const operations: Operation[] = [];
    const leave = (object: VppObject): void => void operations.push({ action: 'remove', object });
    for (const name of idle(this.#idle.policies, this.#policy_uses)) {
      const rules = this.#policies.get(name);
      if (rules === undefined || objects.policy(name) !== undefined) continue;
      leave({ kind: 'npol_policy', name, rx: [], tx: [] });
      this.#policies.delete(name);
      this.#rule_uses.remove(rules);
    }
    for (const name of idle(this.#idle.rules, this.#rule_uses)) {
      const sets = this.#rules.get(name);
      if (sets === undefined || objects.rule(name) !== undefined) continue;
      leave({ kind: 'npol_rule', name, rule: deny_all, sets: {} });
      this.#rules.delete(name);
      this.#set_uses.remove(sets);
    }
    for (const name of idle(this.#idle.sets, this.#set_uses)) {
      const known = this.#sets.get(name);
      if (known === undefined || objects.set(name) !== undefined) continue;
      leave({ kind: 'npol_set', name, ports: false });
      this.#forgetSet(name, known.ref);
    }
    return operations;
  }

  #forgetSet(name: SetName, ref: SetRef): void {
    this.#sets.delete(name);
    for (const id of ref.ids) {
      const made = this.#made_of.get(id);
      made?.delete(name);
      if (made?.size === 0) this.#made_of.delete(id);
    }
  }

  #ended(): void {
    if (this.#phase === 'sweeping') this.#remains = undefined;
    this.#phase = 'idle';
    this.#lookForBroken();
    if (this.#failed.size > 0) this.#later();
    else this.#retries = 0;
  }

  /** True: there is something. */
  #sweep(): boolean {
    const remains = this.#remains;
    if (remains === undefined || this.#failed.size > 0) return false;
    for (const pool of ['policies', 'rules', 'sets'] as const)
      for (let first = 0; first < this.#marks[pool]; first += remains_piece)
        this.#going.push({
          action: 'remove',
          object: { kind: 'npol_remains', pool, first, count: remains_piece },
        });
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
    for (const one of outcome.outcomes) this.#settle(one);
    this.#send();
  }

  #settle({ operation: { action, object }, error }: Outcome): void {
    if (action === 'remove') return this.#settleRemoval(object, error);
    const key = keyOf(object);
    // Of members that were not taken others may follow.
    if (error !== undefined) this.#failed.set(key, error);
    else if (object.kind !== 'npol_members') this.#failed.delete(key);
    switch (object.kind) {
      case 'npol_set':
      case 'npol_members':
        if (error !== undefined) this.#setFailed(object.kind === 'npol_set' ? object.name : object.set);
        return;
      case 'npol_rule': {
        const before = this.#rules.get(object.name) ?? [];
        const sets = Object.values(object.sets);
        if (error !== undefined) return void this.#deferred.rules.add(object.name);
        this.#set_uses.add(sets);
        this.#set_uses.remove(before);
        this.#rules.set(object.name, sets);
        return;
      }
      case 'npol_policy': {
        const before = this.#policies.get(object.name) ?? [];
        const rules = [...object.rx, ...object.tx];
        if (error !== undefined) return void this.#deferred.policies.add(object.name);
        this.#rule_uses.add(rules);
        this.#rule_uses.remove(before);
        this.#policies.set(object.name, rules);
        return;
      }
      case 'npol_interface': {
        const { interface: tag } = object;
        const before = this.#interfaces.get(tag) ?? [];
        const policies = [...object.rx.policies, ...object.tx.policies, ...object.profiles];
        this.#policy_uses.add(policies);
        this.#answered.add(tag);
        if (error !== undefined) {
          // It has the one or the other.
          this.#interfaces.set(tag, [...before, ...policies]);
          this.#told.delete(tag);
          this.#deferred.interfaces.add(tag);
          return;
        }
        this.#policy_uses.remove(before);
        this.#interfaces.set(tag, policies);
        this.#told.set(tag, JSON.stringify(object));
        return;
      }
    }
  }

  /** What cannot be removed has no name any more. */
  #settleRemoval(object: VppObject, error: Error | undefined): void {
    switch (object.kind) {
      case 'npol_interface':
        return this.#interfaceIsGone(object.interface);
      case 'npol_members':
        if (error === undefined) return;
        this.#failed.set(keyOf(object), error);
        return this.#setFailed(object.set);
      case 'npol_set':
      case 'npol_rule':
      case 'npol_policy':
        this.#failed.delete(keyOf(object));
        if (error !== undefined) this.#leaves(pool_of_kind[object.kind]!);
        return;
    }
  }

  #interfaceIsGone(tag: InterfaceTag): void {
    this.#policy_uses.remove(this.#interfaces.get(tag) ?? []);
    this.#interfaces.delete(tag);
    this.#told.delete(tag);
    this.#failed.delete(`npol_interface:${tag}`);
  }

  /** What is in it is not known: it is made anew, and its rules refer to the new one then. */
  #setFailed(name: SetName): void {
    const known = this.#sets.get(name);
    if (known !== undefined) {
      this.#forgetSet(name, known.ref);
      this.#leaves('sets');
    }
    this.#deferred.sets.add(name);
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
      const deferred = this.#deferred;
      this.#deferred = emptyMarks();
      for (const name of deferred.sets) {
        this.#failed.delete(`npol_set:${name}`);
        this.#failed.delete(`npol_members:${name}`);
      }
      for (const name of deferred.rules) this.#failed.delete(`npol_rule:${name}`);
      for (const name of deferred.policies) this.#failed.delete(`npol_policy:${name}`);
      return this.touch(deferred);
    }
    this.#forgetAll();
    this.#read();
  }

  // --- for people

  gauges() {
    return {
      sets: this.#sets.size,
      rules: this.#rules.size,
      policies: this.#policies.size,
      interfaces: this.#interfaces.size,
      waiting: this.#coming.length + this.#going.length + (this.#hasWork ? 1 : 0),
      refused: this.#failed.size,
    };
  }

  /** Objects that VPP refused, and why. */
  refused(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#failed].slice(0, named_max).map(([key, { message }]) => [key, message]),
    );
  }

  /** Interfaces of which the state may have changed since this was asked last. */
  takeAnswered(): ReadonlySet<InterfaceTag> {
    const answered = this.#answered;
    this.#answered = new Set();
    return answered;
  }

  /** Whether VPP judges this interface by what is wanted of it, or why not. */
  stateOf(tag: InterfaceTag): 'enforced' | 'waiting' | Error {
    const wanted = this.#deps.objects.interface(tag);
    if (wanted === undefined) return 'waiting';
    const failed = this.#failed.get(`npol_interface:${tag}`);
    if (failed !== undefined) return failed;
    return this.#told.get(tag) === JSON.stringify(interfaceObject(wanted)) ? 'enforced' : 'waiting';
  }
}

const pool_of_kind: Readonly<Partial<Record<VppObject['kind'], NpolPool>>> = {
  npol_rule: 'rules',
  npol_policy: 'policies',
  npol_set: 'sets',
};

function emptyInterface(tag: InterfaceTag): NpolInterfaceObject {
  const closed = { policies: [], policy_default: 'deny', profile_default: 'deny' } as const;
  return { kind: 'npol_interface', interface: tag, rx: closed, tx: closed, profiles: [], invert: false };
}

function ruleOperation(name: RuleName, rule: NpolRule): Operation {
  const sets = Object.fromEntries(setsOf(rule.match).map((ref) => [setName(ref), setName(ref)]));
  return { action: 'add', object: { kind: 'npol_rule', name, rule, sets } };
}

function policyOperation(name: string, rx: readonly RuleName[], tx: readonly RuleName[]): Operation {
  const object: NpolPolicyObject = { kind: 'npol_policy', name, rx, tx };
  return { action: 'add', object };
}

interface Marks extends TouchedObjects {
  readonly interfaces: Set<InterfaceTag>;
  readonly policies: Set<string>;
  readonly rules: Set<RuleName>;
  readonly sets: Set<SetName>;
}

function emptyMarks(): Marks {
  return { interfaces: new Set(), policies: new Set(), rules: new Set(), sets: new Set() };
}

const copied = ({ words }: PackedPrefix): PackedPrefix => ({ words: words.slice() });

/** What is looked at, of what nobody refers to. */
function* idle(names: Set<string>, uses: Counts): Generator<string> {
  for (const name of uses.fallen) names.add(name);
  uses.fallen.clear();
  for (const name of names) if (uses.of(name) === 0) yield name;
  names.clear();
}

/** How often each name is referred to. */
class Counts {
  readonly #counts = new Map<string, number>();
  /** To which nobody refers any more since somebody has looked. */
  readonly fallen = new Set<string>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(names: readonly string[]): void {
    for (const name of names) this.#counts.set(name, this.of(name) + 1);
  }

  remove(names: readonly string[]): void {
    for (const name of names) {
      const count = this.of(name) - 1;
      if (count > 0) this.#counts.set(name, count);
      else {
        this.#counts.delete(name);
        this.fallen.add(name);
      }
    }
  }

  clear(): void {
    this.#counts.clear();
    this.fallen.clear();
  }
}
