/**
 * One round, planned in turns: what comes in the order in which it is referred to, and the members that go. Where VPP cannot be told of it
 * so that every message leads from what was to what is to be, it is made in copies, and each interface is switched by one message.
 */
import { AddressSet, type PackedPrefix, prefixText } from '../felix/address-set.js';
import { type Change, type FelixSet, no_port } from '../felix/set.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { type NpolRule, type RuleName, ruleName, type SetName, setName, setsOf } from '../objects/npol.js';
import { members_max, type NpolInterfaceObject, type NpolPool, type SetKey } from '../objects/policy.js';
import type { NpolObjects, TouchedObjects } from '../policies/objects.js';
import { membersOf } from '../policies/set-members.js';
import type { Operation } from '../reconcile/operation.js';
import { denial, denies, type NpolFaults } from './npol-faults.js';
import { pool_of_kind } from './npol-numbers.js';
import type { NpolThere } from './npol-there.js';

/** Sets of Felix's, and those that are this node's own, by id. */
export type MemberSources = Pick<ReadonlyMap<string, FelixSet | Pick<FelixSet, 'members'>>, 'get'>;

export interface NpolPlanDeps {
  readonly objects: NpolObjects;
  readonly sets: MemberSources;
  readonly there: NpolThere;
  readonly faults: NpolFaults;
}

/** What a round starts from. */
export interface Looked {
  /** What may differ from what VPP was told. */
  readonly dirty: TouchedObjects;
  /** Sets of Felix's whose members may have changed. */
  readonly changed_sets: ReadonlySet<string>;
  /** Interfaces that are to be told whatever is known of them: it takes out those that are. */
  readonly forced: Set<InterfaceTag>;
}

/** Members that are looked at in one turn of the event loop. */
const members_piece = 1024;
/** And rules, policies or interfaces, with all to which they refer. */
const objects_piece = 128;
/** Removing a member VPP looks at all: more than so many comparisons take it longer than to be given a new set. */
const comparisons_max = 1_000_000;
/** Of a larger set no copy is made for the sake of the verdicts on the way. */
const copied_members_max = 10_000;

/** How a set differs from what VPP has. */
interface SetChange {
  readonly name: SetName;
  readonly key: SetKey;
  readonly coming: readonly PackedPrefix[];
  readonly leaving: readonly PackedPrefix[];
}

export class NpolPlan {
  readonly #deps: NpolPlanDeps;
  readonly #looked: Looked;
  /** What is to be sent: first sets and what is in them, then what refers to these, then members that go. */
  readonly filling: Operation[] = [];
  readonly coming: Operation[] = [];
  readonly going: Operation[] = [];
  readonly #turns: Generator<void>;
  #count = 0;

  constructor(deps: NpolPlanDeps, looked: Looked) {
    this.#deps = deps;
    this.#looked = looked;
    this.#turns = this.#planned();
  }

  /** Plans a piece. True: all is planned. Nothing of what it is made from may change before. */
  step(): boolean {
    return this.#turns.next().done === true;
  }

  /** How many of each pool come, at most. */
  get comes(): Record<NpolPool, number> {
    // One rule more, which denies everything, where a set is refused on the way.
    const comes = { rules: 1, policies: 0, sets: 0 };
    for (const { object } of [...this.filling, ...this.coming]) {
      const pool = pool_of_kind[object.kind];
      if (pool !== undefined) comes[pool] += 1;
    }
    return comes;
  }

  *#planned(): Generator<void> {
    const { objects, there } = this.#deps;
    const { dirty } = this.#looked;
    const changes: SetChange[] = [];
    const made = new Set<SetName>();
    for (const [name, hint] of this.#changedSets(dirty.sets)) {
      yield* this.#piece();
      const key = there.copyOfSet(name);
      if (objects.set(name) === undefined) there.idle.sets.add(key ?? name);
      else if (key === undefined) made.add(name);
      else {
        const change = yield* this.#difference(name, key, hint);
        if (change.coming.length + change.leaving.length > 0) changes.push(change);
      }
    }
    const copies = !(yield* this.#isOneStep(changes));
    const filling: Operation[] = [];
    for (const { name, key, coming, leaving } of changes) {
      const { size } = there.sets.get(key)!.members;
      const is_small = size + coming.length - leaving.length <= copied_members_max;
      const takes_long = leaving.length * (size + coming.length) > comparisons_max;
      if ((copies && is_small) || takes_long) made.add(name);
      else yield* this.#change(key, coming, leaving, filling);
    }
    for (const name of made) yield* this.#make(name, filling);
    for (const operation of filling) this.filling.push(operation);
    const switched = new Set(dirty.interfaces);
    for (const name of yield* this.#rules(made)) {
      yield* this.#piece(this.#rulesOf(name));
      for (const tag of this.#policy(name, copies)) switched.add(tag);
    }
    for (const tag of switched) {
      yield* this.#piece(this.#policiesOf(tag));
      this.#interface(tag);
    }
  }

  /** Between objects: a turn of the event loop ends with every so many. `references`: of the one that was looked at. */
  *#piece(references = 0): Generator<void> {
    this.#count += 1 + references;
    if (this.#count < objects_piece) return;
    this.#count = 0;
    yield;
  }

  #rulesOf(name: string): number {
    const there = this.#deps.objects.policy(name);
    return there === undefined ? 0 : there.rx.length + there.tx.length;
  }

  #policiesOf(tag: InterfaceTag): number {
    const there = this.#deps.objects.interface(tag);
    if (there === undefined) return 0;
    return there.rx.policies.length + there.tx.policies.length + there.profiles.length;
  }

  // --- sets

  /** Sets that may differ, each with what is known of how. */
  #changedSets(dirty: ReadonlySet<SetName>): Map<SetName, ReadonlyMap<number, Change> | undefined> {
    const { objects, sets, there } = this.#deps;
    const changed = new Map<SetName, ReadonlyMap<number, Change> | undefined>();
    for (const id of this.#looked.changed_sets) {
      const made = there.madeOf(id);
      if (made === undefined) continue;
      const source = sets.get(id);
      const hint = source !== undefined && 'take' in source ? source.take() : undefined;
      for (const name of made) changed.set(name, objects.set(name)?.ids.length === 1 ? hint : undefined);
    }
    for (const name of dirty) if (!changed.has(name)) changed.set(name, undefined);
    return changed;
  }

  *#difference(
    name: SetName,
    key: SetKey,
    hint: ReadonlyMap<number, Change> | undefined,
  ): Generator<void, SetChange> {
    const { ref, members } = this.#deps.there.sets.get(key)!;
    const wanted = yield* membersOf(ref, this.#deps.sets);
    const coming: PackedPrefix[] = [];
    const leaving: PackedPrefix[] = [];
    const change = hint?.get(ref.port ?? no_port);
    const looked_at = hint === undefined ? [members, wanted] : [change?.added, change?.removed];
    let count = 0;
    for (const prefixes of looked_at)
      for (const prefix of prefixes ?? []) {
        const is_wanted = wanted.has(prefix);
        if (is_wanted !== members.has(prefix)) (is_wanted ? coming : leaving).push(copied(prefix));
        if (++count % members_piece === 0) yield;
      }
    return { name, key, coming, leaving };
  }

  /** A copy that VPP does not have yet, with all its members. */
  *#make(name: SetName, filling: Operation[]): Generator<void> {
    const { objects, sets, there } = this.#deps;
    const ref = objects.set(name)!;
    const { key, first } = there.newSet(name, ref, new AddressSet());
    this.filling.push({
      action: 'add',
      object: { kind: 'npol_set', name: key, ports: ref.port !== undefined },
    });
    for (const id of first) {
      // From now on its changes are remembered.
      const source = sets.get(id);
      if (source !== undefined && 'take' in source) source.take();
    }
    yield* this.#piece();
    const coming: PackedPrefix[] = [];
    for (const prefix of yield* membersOf(ref, sets)) {
      coming.push(copied(prefix));
      if (coming.length % members_piece === 0) yield;
    }
    yield* this.#change(key, coming, [], filling);
  }

  *#change(
    key: SetKey,
    coming: readonly PackedPrefix[],
    leaving: readonly PackedPrefix[],
    filling: Operation[],
  ): Generator<void> {
    const { ref, members } = this.#deps.there.sets.get(key)!;
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
        (action === 'add' ? filling : this.going).push({ action, object });
        yield;
      }
  }

  /** Whether VPP can be told of this so that every message leads from what was to what is to be, for whatever flow. */
  *#isOneStep(changes: readonly SetChange[]): Generator<void, boolean> {
    const { objects, there, faults } = this.#deps;
    const { dirty } = this.#looked;
    let policies = 0;
    for (const name of dirty.policies) {
      yield* this.#piece(this.#rulesOf(name));
      const policy = objects.policy(name);
      const known = there.policies.get(there.policyKey(name));
      if (policy !== undefined && known !== undefined && known.content !== faults.contentOf(name, policy))
        policies += 1;
    }
    const interfaces: InterfaceTag[] = [];
    for (const tag of dirty.interfaces) {
      yield* this.#piece(this.#policiesOf(tag));
      const wanted = objects.interface(tag);
      const told = there.told.get(tag);
      if (wanted !== undefined && told !== undefined && told !== there.interfaceText(wanted))
        interfaces.push(tag);
    }
    if (changes.length === 0) return policies === 0 || (policies === 1 && interfaces.length === 0);
    if (policies > 0) return false;
    const [first] = changes;
    if (changes.length === 1 && interfaces.length === 0 && first!.coming.length + first!.leaving.length === 1)
      return true;
    const adds = changes.every(({ leaving }) => leaving.length === 0);
    const removes = changes.every(({ coming }) => coming.length === 0);
    // What only allows allows more from step to step, or less.
    if ((!adds && !removes) || !changes.every(({ key }) => there.onlyAllows(key))) return false;
    if (interfaces.length === 0) return true;
    // New members would count for an interface that is only then told of its new policies.
    return adds && !interfaces.some((tag) => changes.some(({ key }) => there.meets(tag, key)));
  }

  // --- what refers to sets

  /** Answers which policies have to be looked at. */
  *#rules(made: ReadonlySet<SetName>): Generator<void, ReadonlySet<string>> {
    const { objects, there } = this.#deps;
    const { dirty } = this.#looked;
    const policies = new Set(dirty.policies);
    const wanted = new Map<RuleName, NpolRule>();
    for (const name of dirty.rules) {
      yield* this.#piece();
      const rule = objects.rule(name);
      if (rule === undefined) there.idle.rules.add(name);
      else wanted.set(there.ruleKey(rule), rule);
    }
    // Rules with a set of which there is another copy now.
    for (const [key, { name }] of made.size === 0 ? [] : there.sets) {
      yield* this.#piece();
      if (!made.has(name) || there.copyOfSet(name) === key) continue;
      for (const user of there.of_sets.users(key)) {
        yield* this.#piece();
        const rule = there.rules.get(user)?.rule;
        if (rule === undefined || objects.rule(ruleName(rule)) === undefined) continue;
        there.idle.rules.add(user);
        wanted.set(there.ruleKey(rule), rule);
        for (const policy of there.of_rules.users(user)) policies.add(there.policyName(policy));
      }
    }
    for (const [key, rule] of wanted) {
      yield* this.#piece();
      if (!there.rules.has(key)) this.#addRule(key, rule);
    }
    return policies;
  }

  #addRule(key: RuleName, rule: NpolRule): void {
    const { there } = this.#deps;
    const sets = Object.fromEntries(
      setsOf(rule.match).map((ref) => [setName(ref), there.setKey(setName(ref))]),
    );
    this.coming.push({ action: 'add', object: { kind: 'npol_rule', name: key, rule, sets } });
  }

  /** Answers the interfaces that are to be switched to a copy. */
  #policy(name: string, copies: boolean): Iterable<InterfaceTag> {
    const { objects, there, faults } = this.#deps;
    const policy = objects.policy(name);
    const before = there.copyOfPolicy(name);
    if (policy === undefined) {
      if (before !== undefined) there.idle.policies.add(before);
      return [];
    }
    const [rx, tx] = faults.rulesOf(name, policy);
    if (
      faults.turns(name, policy) &&
      !there.rules.has(denies) &&
      !this.coming.some(({ object }) => object === denial)
    )
      this.coming.push({ action: 'add', object: denial });
    const known = before === undefined ? undefined : there.policies.get(before);
    if (known?.content === JSON.stringify([rx, tx])) return [];
    const is_copy = copies && known !== undefined;
    const key = there.newPolicy(name, is_copy);
    this.coming.push({ action: 'add', object: { kind: 'npol_policy', name: key, rx, tx } });
    if (!is_copy) return [];
    there.idle.policies.add(before!);
    return there.of_policies.users(before!);
  }

  #interface(tag: InterfaceTag): void {
    const { objects, there } = this.#deps;
    const { forced } = this.#looked;
    const wanted = objects.interface(tag);
    if (wanted === undefined) {
      forced.delete(tag);
      if (there.of_policies.has(tag)) this.going.push({ action: 'remove', object: emptyInterface(tag) });
      return;
    }
    const object = there.interfaceObject(wanted);
    if (there.told.get(tag) === JSON.stringify(object) && !forced.has(tag)) return;
    forced.delete(tag);
    this.coming.push({ action: 'add', object });
  }
}

function emptyInterface(tag: InterfaceTag): NpolInterfaceObject {
  const closed = { policies: [], policy_default: 'deny', profile_default: 'deny' } as const;
  return { kind: 'npol_interface', interface: tag, rx: closed, tx: closed, profiles: [], invert: false };
}

const copied = ({ words }: PackedPrefix): PackedPrefix => ({ words: words.slice() });
