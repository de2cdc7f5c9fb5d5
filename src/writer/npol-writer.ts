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
  type NpolInterface,
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
  type NpolPool,
  type NpolRuleObject,
  npol_pools,
  type SetKey,
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
/** Of a larger set no copy is made for the sake of the verdicts on the way. */
const copied_members_max = 10_000;
/** Of what VPP refuses, so much is named. */
const named_max = 100;
/** Numbers of a pool that one operation looks at. */
const remains_piece = 16;
/** The least that a pool is said to have had. */
const mark_min = 64;

/** A set that VPP has. */
interface KnownSet {
  readonly name: SetName;
  readonly ref: SetRef;
  /** What VPP has in it, or is just being told. */
  readonly members: AddressSet;
}

interface KnownRule {
  readonly rule: NpolRule;
  readonly sets: readonly SetKey[];
}

interface KnownPolicy {
  readonly name: string;
  /** What it was told to be, as text. */
  readonly content: string;
}

/** How a set differs from what VPP has. */
interface SetChange {
  readonly name: SetName;
  readonly key: SetKey;
  readonly coming: readonly PackedPrefix[];
  readonly leaving: readonly PackedPrefix[];
}

/** The power of two, of some at least, that is no less. */
function stepOf(count: number): number {
  let step = mark_min;
  while (step < count) step *= 2;
  return step;
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
  /** What is to be sent: first sets and what is in them, then what refers to these, then members that go. */
  #filling: Operation[] = [];
  #coming: Operation[] = [];
  #going: Operation[] = [];
  #phase: 'idle' | 'adding' | 'removing' | 'sweeping' = 'idle';
  #flights = 0;
  /** VPP has not answered all of the sets: nothing may be judged by them yet. */
  #fills = false;
  #retry: Timer | undefined;
  #retries = 0;

  // --- what VPP has, by key
  readonly #sets = new Map<SetKey, KnownSet>();
  readonly #rules = new Map<RuleName, KnownRule>();
  readonly #policies = new Map<string, KnownPolicy>();
  /** As each interface was told last. */
  readonly #told = new Map<InterfaceTag, string>();
  /** Of which VPP has answered since somebody has looked. */
  #answered = new Set<InterfaceTag>();
  readonly #of_sets = new References();
  readonly #of_rules = new References();
  readonly #of_policies = new References();
  /** Which copy is in use of each set and policy, and of which policy each is a copy. */
  readonly #set_keys = new Map<SetName, SetKey>();
  readonly #policy_keys = new Map<string, string>();
  readonly #policy_names = new Map<string, string>();
  #copies = 0;
  /** By set of Felix's, the sets of VPP's that are made of it. */
  readonly #made_of = new Map<string, Set<SetName>>();
  /** Sets of which VPP has refused something: what is in them is not known. */
  readonly #bad_sets = new Set<SetName>();
  /** What VPP refuses, and why. */
  readonly #failed = new Map<ObjectKey, Error>();
  /** What is tried again after a while. */
  #deferred = emptyMarks();
  /** Policies in whose place VPP has one that denies everything. */
  readonly #closed = new Set<string>();
  /** Those that this round closes, or opens again. */
  readonly #turned = new Set<string>();
  /** What has nobody any more who wants it, or who refers to it: perhaps. */
  readonly #idle = emptyMarks();
  /** Numbers below these may have been given out. */
  #marks: Record<NpolPool, number> = { rules: 0, policies: 0, sets: 0 };
  /** So many of each may be in VPP, as it is written down. */
  #held: Record<NpolPool, number> = { rules: 0, policies: 0, sets: 0 };
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
    for (const name of policies) {
      this.#dirty.policies.add(name);
      // Another one may be taken.
      this.#failed.delete(`npol_policy:${this.#policy_keys.get(name) ?? name}`);
    }
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
    this.#filling = [];
    this.#coming = [];
    this.#going = [];
    this.#phase = 'idle';
    this.#flights = 0;
    this.#fills = false;
    this.#reading = false;
  }

  /** Nothing is known of what this VPP has, nor of what it was asked. */
  #forgetAll(): void {
    for (const known of [this.#sets, this.#rules, this.#policies, this.#told, this.#made_of]) known.clear();
    for (const keys of [this.#set_keys, this.#policy_keys, this.#policy_names]) keys.clear();
    for (const references of [this.#of_sets, this.#of_rules, this.#of_policies]) references.clear();
    this.#bad_sets.clear();
    this.#failed.clear();
    this.#forced.clear();
    this.#closed.clear();
    this.#turned.clear();
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
    this.#held = { ...this.#marks, ...marks?.held };
    this.#remains = marks === undefined ? undefined : { ...this.#held };
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
    const names = this.#changedSets(dirty.sets);
    const changes: SetChange[] = [];
    const made = new Set<SetName>();
    for (const [name, hint] of names) {
      const key = this.#set_keys.get(name);
      if (objects.set(name) === undefined) this.#idle.sets.add(key ?? name);
      else if (key === undefined) made.add(name);
      else {
        const change = yield* this.#difference(name, key, hint);
        if (change.coming.length + change.leaving.length > 0) changes.push(change);
      }
    }
    const copies = !this.#isOneStep(changes, dirty);
    const making: Operation[] = [];
    const filling: Operation[] = [];
    for (const { name, key, coming, leaving } of changes) {
      const { size } = this.#sets.get(key)!.members;
      const is_small = size + coming.length - leaving.length <= copied_members_max;
      const takes_long = leaving.length * (size + coming.length) > comparisons_max;
      if ((copies && is_small) || takes_long) made.add(name);
      else yield* this.#change(key, coming, leaving, filling);
    }
    for (const name of made) yield* this.#make(name, making, filling);
    this.#filling.push(...making, ...filling);
    const switched = new Set(dirty.interfaces);
    for (const name of this.#planRules(dirty, made))
      for (const tag of this.#planPolicy(name, copies)) switched.add(tag);
    for (const tag of switched) this.#planInterface(tag);
    this.#mark();
  }

  /** Sets that may differ, each with what is known of how. */
  #changedSets(dirty: ReadonlySet<SetName>): Map<SetName, ReadonlyMap<number, Change> | undefined> {
    const { objects, sets } = this.#deps;
    const changed = new Map<SetName, ReadonlyMap<number, Change> | undefined>();
    for (const id of this.#changed_sets) {
      const made = this.#made_of.get(id);
      if (made === undefined) continue;
      const source = sets.get(id);
      const hint = source !== undefined && 'take' in source ? source.take() : undefined;
      for (const name of made) changed.set(name, objects.set(name)?.ids.length === 1 ? hint : undefined);
    }
    this.#changed_sets.clear();
    for (const name of dirty) if (!changed.has(name)) changed.set(name, undefined);
    return changed;
  }

  *#difference(
    name: SetName,
    key: SetKey,
    hint: ReadonlyMap<number, Change> | undefined,
  ): Generator<void, SetChange> {
    const { ref, members } = this.#sets.get(key)!;
    const wanted = membersOf(ref, this.#deps.sets);
    const coming: PackedPrefix[] = [];
    const leaving: PackedPrefix[] = [];
    const change = hint?.get(ref.port ?? no_port);
    const looked_at = hint === undefined ? [members, wanted] : [change?.added, change?.removed];
    let count = 0;
    for (const prefixes of looked_at)
      for (const prefix of prefixes ?? []) {
        const is_wanted = wanted.has(prefix);
        if (is_wanted !== members.has(prefix)) (is_wanted ? coming : leaving).push(copied(prefix));
        if (++count % piece === 0) yield;
      }
    return { name, key, coming, leaving };
  }

  /** A copy that VPP does not have yet, with all its members. */
  *#make(name: SetName, making: Operation[], filling: Operation[]): Generator<void> {
    const { objects, sets } = this.#deps;
    const ref = objects.set(name)!;
    const before = this.#set_keys.get(name);
    if (before !== undefined) this.#idle.sets.add(before);
    const key = this.#sets.has(name) ? this.#copyOf(name) : name;
    this.#set_keys.set(name, key);
    this.#sets.set(key, { name, ref, members: new AddressSet() });
    making.push({ action: 'add', object: { kind: 'npol_set', name: key, ports: ref.port !== undefined } });
    for (const id of ref.ids) {
      const is_first = !this.#made_of.has(id);
      this.#madeOf(id).add(name);
      // From now on its changes are remembered.
      const source = sets.get(id);
      if (is_first && source !== undefined && 'take' in source) source.take();
    }
    const coming: PackedPrefix[] = [];
    for (const prefix of membersOf(ref, sets)) {
      coming.push(copied(prefix));
      if (coming.length % piece === 0) yield;
    }
    yield* this.#change(key, coming, [], filling);
  }

  #copyOf(name: string): string {
    this.#copies += 1;
    return `${name}#${this.#copies}`;
  }

  *#change(
    key: SetKey,
    coming: readonly PackedPrefix[],
    leaving: readonly PackedPrefix[],
    filling: Operation[],
  ): Generator<void> {
    const { ref, members } = this.#sets.get(key)!;
    const { port } = ref;
    for (const [all, action] of [[coming, 'add'] as const, [leaving, 'remove'] as const])
      for (let at = 0; at < all.length; at += members_max) {
        const some = all.slice(at, at + members_max);
        for (const prefix of some) {
          if (action === 'add') members.add(prefix);
          else members.delete(prefix);
        }
        const object = {
          kind: 'npol_members',
          set: key,
          prefixes: some.map(prefixText),
          ...(port !== undefined && { port }),
        } as const;
        (action === 'add' ? filling : this.#going).push({ action, object });
        yield;
      }
  }

  /** Whether VPP can be told of this so that every message leads from what was to what is to be, for whatever flow. */
  #isOneStep(changes: readonly SetChange[], dirty: TouchedObjects): boolean {
    const { objects } = this.#deps;
    const policies = [...dirty.policies].filter((name) => {
      const policy = objects.policy(name);
      const there = this.#policies.get(this.#policy_keys.get(name) ?? name);
      return policy !== undefined && there !== undefined && there.content !== this.#contentOf(name, policy);
    });
    const interfaces = [...dirty.interfaces].filter((tag) => {
      const wanted = objects.interface(tag);
      return wanted !== undefined && this.#told.has(tag) && this.#told.get(tag) !== this.#textOf(wanted);
    });
    if (changes.length === 0) {
      return policies.length === 0 || (policies.length === 1 && interfaces.length === 0);
    }
    if (policies.length > 0) return false;
    const [first] = changes;
    if (changes.length === 1 && interfaces.length === 0 && first!.coming.length + first!.leaving.length === 1)
      return true;
    const adds = changes.every(({ leaving }) => leaving.length === 0);
    const removes = changes.every(({ coming }) => coming.length === 0);
    // What only allows allows more from step to step, or less.
    if ((!adds && !removes) || !changes.every(({ key }) => this.#onlyAllows(key))) return false;
    if (interfaces.length === 0) return true;
    // New members would count for an interface that is only then told of its new policies.
    return adds && !interfaces.some((tag) => changes.some(({ key }) => this.#meets(tag, key)));
  }

  #onlyAllows(key: SetKey): boolean {
    const { name } = this.#sets.get(key)!;
    for (const user of this.#of_sets.users(key)) {
      const rule = this.#rules.get(user)?.rule;
      if (rule?.action !== 'allow') return false;
      const { not_src, not_dst } = rule.match;
      const excluded = [not_src, not_dst].flatMap(({ sets, port_sets }) => [...sets, ...port_sets]);
      if (excluded.some((ref) => setName(ref) === name)) return false;
    }
    return true;
  }

  /** Whether VPP judges this interface by this set. */
  #meets(tag: InterfaceTag, key: SetKey): boolean {
    for (const rule of this.#of_sets.users(key))
      for (const policy of this.#of_rules.users(rule))
        if (this.#of_policies.users(policy).has(tag)) return true;
    return false;
  }

  /** The same rule with other copies of its sets is another one. */
  #ruleKey(rule: NpolRule): RuleName {
    const copies = setsOf(rule.match)
      .map((ref) => this.#set_keys.get(setName(ref)) ?? setName(ref))
      .filter((key) => key.includes('#'));
    const name = ruleName(rule);
    return copies.length === 0 ? name : `${name} ${[...new Set(copies)].sort().join(' ')}`;
  }

  /** Answers which policies have to be looked at. */
  #planRules(dirty: TouchedObjects, made: ReadonlySet<SetName>): ReadonlySet<string> {
    const { objects } = this.#deps;
    const policies = new Set(dirty.policies);
    const wanted = new Map<RuleName, NpolRule>();
    for (const name of dirty.rules) {
      const rule = objects.rule(name);
      if (rule === undefined) this.#idle.rules.add(name);
      else wanted.set(this.#ruleKey(rule), rule);
    }
    // Rules with a set of which there is another copy now.
    for (const [key, { name }] of made.size === 0 ? [] : this.#sets) {
      if (!made.has(name) || this.#set_keys.get(name) === key) continue;
      for (const user of this.#of_sets.users(key)) {
        const rule = this.#rules.get(user)?.rule;
        if (rule === undefined || objects.rule(ruleName(rule)) === undefined) continue;
        this.#idle.rules.add(user);
        wanted.set(this.#ruleKey(rule), rule);
        for (const policy of this.#of_rules.users(user))
          policies.add(this.#policy_names.get(policy) ?? policy);
      }
    }
    for (const [key, rule] of wanted) if (!this.#rules.has(key)) this.#addRule(key, rule);
    return policies;
  }

  #addRule(key: RuleName, rule: NpolRule): void {
    const sets = Object.fromEntries(
      setsOf(rule.match).map((ref) => [setName(ref), this.#set_keys.get(setName(ref)) ?? setName(ref)]),
    );
    this.#coming.push({ action: 'add', object: { kind: 'npol_rule', name: key, rule, sets } });
  }

  /** Of `rx` and `tx`. Closed where VPP refuses one of its rules. */
  #rulesOf(
    name: string,
    { rx, tx }: Pick<NpolPolicy, 'rx' | 'tx'>,
  ): [readonly RuleName[], readonly RuleName[]] {
    const is_broken = this.#isBroken(name, { rx, tx });
    const keys = (rules: readonly NpolRule[]): readonly RuleName[] => {
      if (!is_broken) return rules.map((rule) => this.#ruleKey(rule));
      return rules.length === 0 ? [] : [ruleName(deny_all)];
    };
    return [keys(rx), keys(tx)];
  }

  #contentOf(name: string, policy: Pick<NpolPolicy, 'rx' | 'tx'>): string {
    return JSON.stringify(this.#rulesOf(name, policy));
  }

  /** Answers the interfaces that are to be switched to a copy. */
  #planPolicy(name: string, copies: boolean): Iterable<InterfaceTag> {
    const policy = this.#deps.objects.policy(name);
    const before = this.#policy_keys.get(name);
    if (policy === undefined) {
      if (before !== undefined) this.#idle.policies.add(before);
      return [];
    }
    const [rx, tx] = this.#rulesOf(name, policy);
    const is_broken = this.#isBroken(name, policy);
    if (is_broken !== this.#closed.has(name)) this.#turned.add(name);
    if (is_broken) {
      this.#closed.add(name);
      const denies = ruleName(deny_all);
      if (!this.#rules.has(denies)) this.#coming.push({ action: 'add', object: denial(denies) });
    } else this.#closed.delete(name);
    const there = before === undefined ? undefined : this.#policies.get(before);
    if (there?.content === JSON.stringify([rx, tx])) return [];
    const is_copy = copies && there !== undefined;
    const key = is_copy ? this.#copyOf(name) : (before ?? name);
    this.#policy_keys.set(name, key);
    this.#policy_names.set(key, name);
    this.#coming.push({ action: 'add', object: { kind: 'npol_policy', name: key, rx, tx } });
    if (!is_copy) return [];
    this.#idle.policies.add(before!);
    return this.#of_policies.users(before!);
  }

  #planInterface(tag: InterfaceTag): void {
    const wanted = this.#deps.objects.interface(tag);
    if (wanted === undefined) {
      if (this.#of_policies.has(tag)) this.#going.push({ action: 'remove', object: emptyInterface(tag) });
      return;
    }
    const object = this.#objectOf(wanted);
    if (this.#told.get(tag) === JSON.stringify(object) && !this.#forced.has(tag)) return;
    this.#forced.delete(tag);
    this.#coming.push({ action: 'add', object });
  }

  #objectOf(wanted: NpolInterface): NpolInterfaceObject {
    const { rx, tx, profiles, ...rest } = interfaceObject(wanted);
    const key = (name: string): string => this.#policy_keys.get(name) ?? name;
    return {
      ...rest,
      rx: { ...rx, policies: rx.policies.map(key) },
      tx: { ...tx, policies: tx.policies.map(key) },
      profiles: profiles.map(key),
    };
  }

  #textOf(wanted: NpolInterface): string {
    return JSON.stringify(this.#objectOf(wanted));
  }

  /** VPP refuses it, or something that it is made of. */
  #isBroken(name: string, { rx, tx }: Pick<NpolPolicy, 'rx' | 'tx'>): boolean {
    const failed = this.#failed;
    if (failed.size === 0) return false;
    if (failed.has(`npol_policy:${this.#policy_keys.get(name) ?? name}`)) return true;
    return [...rx, ...tx].some(
      (rule) =>
        failed.has(`npol_rule:${this.#ruleKey(rule)}`) ||
        setsOf(rule.match).some((ref) => this.#bad_sets.has(setName(ref))),
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

  /** One of a pool is in VPP that has no name any more. */
  #leaves(pool: NpolPool): void {
    this.#remains ??= { rules: 0, policies: 0, sets: 0 };
    this.#remains[pool] += 1;
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
    // One rule more, which denies everything, where a set is refused on the way.
    const coming: Record<NpolPool, number> = { rules: 1, policies: 0, sets: 0 };
    for (const { object } of [...this.#filling, ...this.#coming]) {
      const pool = pool_of_kind[object.kind];
      if (pool !== undefined) coming[pool] += 1;
    }
    const there = this.#there();
    const below = { ...this.#marks };
    const held = { ...this.#held };
    for (const pool of npol_pools) {
      const needed = there[pool] + coming[pool] + (this.#remains?.[pool] ?? 0);
      below[pool] = Math.max(below[pool], stepOf(needed));
      held[pool] = Math.max(held[pool], stepOf(needed));
    }
    if (npol_pools.every((pool) => below[pool] === this.#marks[pool] && held[pool] === this.#held[pool]))
      return;
    this.#marks = below;
    this.#held = held;
    this.#filling.unshift({ action: 'add', object: this.#marksObject() });
  }

  #there(): Record<NpolPool, number> {
    return { rules: this.#rules.size, policies: this.#policies.size, sets: this.#sets.size };
  }

  #marksObject(): NpolMarks {
    return { kind: 'npol_marks', below: this.#marks, held: this.#held };
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
    if (this.#filling.length > 0) {
      this.#fills = true;
      return this.#cut(this.#filling);
    }
    if (this.#fills) {
      if (this.#flights > 0) return [];
      this.#fills = false;
      this.#closeUnfilled();
    }
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

  /** What was planned for a set that VPP has not taken whole denies from its first moment on. */
  #closeUnfilled(): void {
    if (this.#bad_sets.size === 0) return;
    const denies = ruleName(deny_all);
    const broken = new Set<RuleName>();
    const isBad = ({ match }: NpolRule): boolean =>
      setsOf(match).some((ref) => this.#bad_sets.has(setName(ref)));
    for (const [key, { rule }] of this.#rules) if (isBad(rule)) broken.add(key);
    let has_denial = this.#rules.has(denies);
    let needs_denial = false;
    this.#coming = this.#coming.flatMap((operation) => {
      const { object } = operation;
      if (object.kind === 'npol_rule' && isBad(object.rule)) {
        broken.add(object.name);
        this.#deferred.rules.add(ruleName(object.rule));
        return [];
      }
      if (object.kind === 'npol_rule') has_denial ||= object.name === denies;
      if (object.kind !== 'npol_policy' || ![...object.rx, ...object.tx].some((key) => broken.has(key)))
        return [operation];
      const name = this.#policy_names.get(object.name) ?? object.name;
      this.#closed.add(name);
      this.#turned.add(name);
      needs_denial = true;
      const closed = (rules: readonly RuleName[]) => (rules.length === 0 ? [] : [denies]);
      return [{ ...operation, object: { ...object, rx: closed(object.rx), tx: closed(object.tx) } }];
    });
    if (needs_denial && !has_denial) this.#coming.unshift({ action: 'add', object: denial(denies) });
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
    for (const key of idle(this.#idle.policies, this.#of_policies)) {
      const known = this.#policies.get(key);
      if (known === undefined) continue;
      const is_current = this.#policy_keys.get(known.name) === key;
      if (is_current && objects.policy(known.name) !== undefined) continue;
      leave({ kind: 'npol_policy', name: key, rx: [], tx: [] });
      if (is_current) this.#policy_keys.delete(known.name);
      this.#policies.delete(key);
      this.#policy_names.delete(key);
      this.#of_rules.forget(key);
    }
    for (const key of idle(this.#idle.rules, this.#of_rules)) {
      const known = this.#rules.get(key);
      if (known === undefined) continue;
      if (objects.rule(ruleName(known.rule)) !== undefined && this.#ruleKey(known.rule) === key) continue;
      leave({ kind: 'npol_rule', name: key, rule: deny_all, sets: {} });
      this.#rules.delete(key);
      this.#of_sets.forget(key);
    }
    for (const key of idle(this.#idle.sets, this.#of_sets)) {
      const known = this.#sets.get(key);
      if (known === undefined) continue;
      const is_current = this.#set_keys.get(known.name) === key;
      if (is_current && objects.set(known.name) !== undefined) continue;
      leave({ kind: 'npol_set', name: key, ports: false });
      if (is_current) this.#forgetSet(known);
      this.#sets.delete(key);
    }
    return operations;
  }

  /** No copy of it is in use any more. */
  #forgetSet({ name, ref }: KnownSet): void {
    this.#set_keys.delete(name);
    for (const id of ref.ids) {
      const made = this.#made_of.get(id);
      made?.delete(name);
      if (made?.size === 0) this.#made_of.delete(id);
    }
  }

  #ended(): void {
    if (this.#phase === 'sweeping') this.#remains = undefined;
    this.#phase = 'idle';
    for (const name of this.#turned)
      for (const tag of this.#of_policies.users(this.#policy_keys.get(name) ?? name)) this.#answered.add(tag);
    this.#turned.clear();
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
    // VPP gives what is free first: who comes after needs no numbers beyond these for as long as there is no more at a time.
    const there = this.#there();
    this.#held = {
      rules: stepOf(there.rules),
      policies: stepOf(there.policies),
      sets: stepOf(there.sets),
    };
    this.#going.push({ action: 'add', object: this.#marksObject() });
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
    if (error !== undefined) this.#failed.set(key, error);
    else if (!this.#isStillFailed(object)) this.#failed.delete(key);
    switch (object.kind) {
      case 'npol_set':
      case 'npol_members':
        if (error !== undefined) this.#setFailed(object.kind === 'npol_set' ? object.name : object.set);
        return;
      case 'npol_rule': {
        const { name, rule } = object;
        if (error !== undefined) return void this.#deferred.rules.add(ruleName(rule));
        const sets = Object.values(object.sets);
        this.#rules.set(name, { rule, sets });
        this.#of_sets.set(name, sets);
        return;
      }
      case 'npol_policy': {
        const { name: key, rx, tx } = object;
        const name = this.#policy_names.get(key) ?? key;
        if (error === undefined) {
          this.#policies.set(key, { name, content: JSON.stringify([rx, tx]) });
          this.#of_rules.set(key, [...rx, ...tx]);
          return;
        }
        // It is the one or the other.
        if (this.#policies.has(key)) {
          this.#policies.set(key, { name, content: '' });
          this.#of_rules.add(key, [...rx, ...tx]);
        }
        this.#deferred.policies.add(name);
        return;
      }
      case 'npol_interface': {
        const { interface: tag } = object;
        const policies = [...object.rx.policies, ...object.tx.policies, ...object.profiles];
        this.#answered.add(tag);
        if (error === undefined) {
          this.#of_policies.set(tag, policies);
          this.#told.set(tag, JSON.stringify(object));
          return;
        }
        this.#of_policies.add(tag, policies);
        this.#told.delete(tag);
        this.#deferred.interfaces.add(tag);
        return;
      }
    }
  }

  /** Of members that were not taken others may follow; and of a policy that was not, what stands in its place. */
  #isStillFailed(object: VppObject): boolean {
    if (object.kind !== 'npol_policy') return object.kind === 'npol_members';
    return this.#closed.has(this.#policy_names.get(object.name) ?? object.name);
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
    this.#of_policies.forget(tag);
    this.#told.delete(tag);
    this.#failed.delete(`npol_interface:${tag}`);
  }

  /** What is in it is not known: another copy is made. */
  #setFailed(key: SetKey): void {
    const known = this.#sets.get(key);
    if (known === undefined) return;
    this.#bad_sets.add(known.name);
    this.#deferred.sets.add(known.name);
    if (this.#set_keys.get(known.name) === key) this.#set_keys.delete(known.name);
    this.#idle.sets.add(key);
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
      this.#bad_sets.clear();
      // What fails again says so again.
      this.#failed.clear();
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
      interfaces: this.#told.size,
      waiting: this.#filling.length + this.#coming.length + this.#going.length + (this.#hasWork ? 1 : 0),
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
    if (this.#told.get(tag) !== this.#textOf(wanted)) return 'waiting';
    if (this.#closed.size === 0) return 'enforced';
    const closed = [...wanted.rx.policies, ...wanted.tx.policies, ...wanted.profiles].find(({ name }) =>
      this.#closed.has(name),
    );
    return closed === undefined ? 'enforced' : new Error(`${closed.name} is not taken by VPP: it denies`);
  }
}

const pool_of_kind: Readonly<Partial<Record<VppObject['kind'], NpolPool>>> = {
  npol_rule: 'rules',
  npol_policy: 'policies',
  npol_set: 'sets',
};

function denial(name: RuleName): NpolRuleObject {
  return { kind: 'npol_rule', name, rule: deny_all, sets: {} };
}

function emptyInterface(tag: InterfaceTag): NpolInterfaceObject {
  const closed = { policies: [], policy_default: 'deny', profile_default: 'deny' } as const;
  return { kind: 'npol_interface', interface: tag, rx: closed, tx: closed, profiles: [], invert: false };
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

/** What is looked at, of what nobody refers to. */
function* idle(keys: Set<string>, references: References): Generator<string> {
  for (const key of references.fallen) keys.add(key);
  references.fallen.clear();
  for (const key of keys) if (references.users(key).size === 0) yield key;
  keys.clear();
}

const nobody: ReadonlySet<string> = new Set();

/** Who refers to what, as VPP has it. */
class References {
  readonly #users = new Map<string, Set<string>>();
  readonly #used = new Map<string, ReadonlySet<string>>();
  /** To which nobody refers any more since somebody has looked. */
  readonly fallen = new Set<string>();

  users(key: string): ReadonlySet<string> {
    return this.#users.get(key) ?? nobody;
  }

  has(user: string): boolean {
    return this.#used.has(user);
  }

  /** It refers to these, and to no others. */
  set(user: string, keys: Iterable<string>): void {
    const before = this.#used.get(user) ?? nobody;
    const now = new Set(keys);
    this.#used.set(user, now);
    for (const key of now) this.#use(key, user);
    for (const key of before) if (!now.has(key)) this.#leave(key, user);
  }

  /** It may refer to these, too. */
  add(user: string, keys: Iterable<string>): void {
    this.set(user, [...(this.#used.get(user) ?? nobody), ...keys]);
  }

  forget(user: string): void {
    this.set(user, nobody);
    this.#used.delete(user);
  }

  #use(key: string, user: string): void {
    const users = this.#users.get(key);
    if (users === undefined) this.#users.set(key, new Set([user]));
    else users.add(user);
  }

  #leave(key: string, user: string): void {
    const users = this.#users.get(key);
    users?.delete(user);
    if (users?.size !== 0) return;
    this.#users.delete(key);
    this.fallen.add(key);
  }

  clear(): void {
    this.#users.clear();
    this.#used.clear();
    this.fallen.clear();
  }
}

const copied = ({ words }: PackedPrefix): PackedPrefix => ({ words: words.slice() });
