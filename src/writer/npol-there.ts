/**
 * What VPP has of npol, as its answers tell, and under which names: of a set or a policy that changes there may be several copies, of which
 * one is in use.
 */
import type { AddressSet } from '../felix/address-set.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  type NpolInterface,
  type NpolRule,
  type RuleName,
  ruleName,
  type SetName,
  type SetRef,
  setName,
  setsOf,
} from '../objects/npol.js';
import type { VppObject } from '../objects/object.js';
import type { NpolInterfaceObject, NpolPool, SetKey } from '../objects/policy.js';
import { interfaceObject, type NpolObjects } from '../policies/objects.js';
import { deny_all } from '../policies/translate.js';
import type { Operation } from '../reconcile/operation.js';
import { emptyMarks } from './npol-marks.js';
import { References } from './npol-references.js';

/** A set that VPP has. */
export interface KnownSet {
  readonly name: SetName;
  readonly ref: SetRef;
  /** What VPP has in it, or is just being told. */
  readonly members: AddressSet;
}

export interface KnownRule {
  readonly rule: NpolRule;
  readonly sets: readonly SetKey[];
}

export interface KnownPolicy {
  readonly name: string;
  /** What it was told to be, as text. */
  readonly content: string;
}

export class NpolThere {
  readonly sets = new Map<SetKey, KnownSet>();
  readonly rules = new Map<RuleName, KnownRule>();
  readonly policies = new Map<string, KnownPolicy>();
  /** As each interface was told last. */
  readonly told = new Map<InterfaceTag, string>();
  readonly of_sets = new References();
  readonly of_rules = new References();
  readonly of_policies = new References();
  /** What has nobody any more who wants it, or who refers to it: perhaps. */
  readonly idle = emptyMarks();
  /** Which copy is in use of each set and policy, and of which policy each is a copy. */
  readonly #set_keys = new Map<SetName, SetKey>();
  readonly #policy_keys = new Map<string, string>();
  readonly #policy_names = new Map<string, string>();
  #copies = 0;
  /** By set of Felix's, the sets of VPP's that are made of it. */
  readonly #made_of = new Map<string, Set<SetName>>();

  /** Nothing is known. */
  clear(): void {
    for (const known of [this.sets, this.rules, this.policies, this.told, this.#made_of]) known.clear();
    for (const keys of [this.#set_keys, this.#policy_keys, this.#policy_names]) keys.clear();
    for (const references of [this.of_sets, this.of_rules, this.of_policies]) references.clear();
  }

  get counts(): Record<NpolPool, number> {
    return { rules: this.rules.size, policies: this.policies.size, sets: this.sets.size };
  }

  // --- names

  /** The copy in use; undefined: there is none. */
  copyOfSet(name: SetName): SetKey | undefined {
    return this.#set_keys.get(name);
  }

  setKey(name: SetName): SetKey {
    return this.#set_keys.get(name) ?? name;
  }

  copyOfPolicy(name: string): string | undefined {
    return this.#policy_keys.get(name);
  }

  policyKey(name: string): string {
    return this.#policy_keys.get(name) ?? name;
  }

  policyName(key: string): string {
    return this.#policy_names.get(key) ?? key;
  }

  /** Another copy of it is made, and in use from now on. */
  newPolicy(name: string, is_copy: boolean): string {
    const key = is_copy ? this.#copy(name) : this.policyKey(name);
    this.#policy_keys.set(name, key);
    this.#policy_names.set(key, name);
    return key;
  }

  /** One that has no members yet is in use from now on. Answers ids of Felix's of which no set was made before. */
  newSet(name: SetName, ref: SetRef, members: AddressSet): { key: SetKey; first: readonly string[] } {
    const before = this.#set_keys.get(name);
    if (before !== undefined) this.idle.sets.add(before);
    const key = this.sets.has(name) ? this.#copy(name) : name;
    this.#set_keys.set(name, key);
    this.sets.set(key, { name, ref, members });
    const first: string[] = [];
    for (const id of ref.ids) {
      const made = this.#made_of.get(id);
      if (made !== undefined) made.add(name);
      else {
        this.#made_of.set(id, new Set([name]));
        first.push(id);
      }
    }
    return { key, first };
  }

  /** What is in it is not known. Answers whose copy it is. */
  setIsBad(key: SetKey): SetName | undefined {
    const name = this.sets.get(key)?.name;
    if (name === undefined) return undefined;
    if (this.#set_keys.get(name) === key) this.#set_keys.delete(name);
    this.idle.sets.add(key);
    return name;
  }

  /** The sets that are made of this one of Felix's. */
  madeOf(id: string): ReadonlySet<SetName> | undefined {
    return this.#made_of.get(id);
  }

  #copy(name: string): string {
    this.#copies += 1;
    return `${name}#${this.#copies}`;
  }

  /** The same rule with other copies of its sets is another one. */
  ruleKey(rule: NpolRule): RuleName {
    const copies = setsOf(rule.match)
      .map((ref) => this.setKey(setName(ref)))
      .filter((key) => key.includes('#'));
    const name = ruleName(rule);
    return copies.length === 0 ? name : `${name} ${[...new Set(copies)].sort().join(' ')}`;
  }

  interfaceObject(wanted: NpolInterface): NpolInterfaceObject {
    const { rx, tx, profiles, ...rest } = interfaceObject(wanted);
    const key = (name: string): string => this.policyKey(name);
    return {
      ...rest,
      rx: { ...rx, policies: rx.policies.map(key) },
      tx: { ...tx, policies: tx.policies.map(key) },
      profiles: profiles.map(key),
    };
  }

  interfaceText(wanted: NpolInterface): string {
    return JSON.stringify(this.interfaceObject(wanted));
  }

  /** What VPP judges this interface by, with the names that policies have; undefined: nothing that is known. */
  interface(tag: InterfaceTag): NpolInterfaceObject | undefined {
    const told = this.told.get(tag);
    if (told === undefined) return undefined;
    const { rx, tx, profiles, ...rest } = JSON.parse(told) as NpolInterfaceObject;
    const name = (key: string): string => this.policyName(key);
    return {
      ...rest,
      rx: { ...rx, policies: rx.policies.map(name) },
      tx: { ...tx, policies: tx.policies.map(name) },
      profiles: profiles.map(name),
    };
  }

  // --- who is judged by what

  /** Whether every rule with this set lets more pass the more members it has. */
  onlyAllows(key: SetKey): boolean {
    const { name } = this.sets.get(key)!;
    for (const user of this.of_sets.users(key)) {
      const rule = this.rules.get(user)?.rule;
      if (rule?.action !== 'allow') return false;
      const { not_src, not_dst } = rule.match;
      const excluded = [not_src, not_dst].flatMap(({ sets, port_sets }) => [...sets, ...port_sets]);
      if (excluded.some((ref) => setName(ref) === name)) return false;
    }
    return true;
  }

  /** Whether VPP judges this interface by this set. */
  meets(tag: InterfaceTag, key: SetKey): boolean {
    for (const rule of this.of_sets.users(key))
      for (const policy of this.of_rules.users(rule))
        if (this.of_policies.users(policy).has(tag)) return true;
    return false;
  }

  interfaceIsGone(tag: InterfaceTag): void {
    this.of_policies.forget(tag);
    this.told.delete(tag);
  }

  // --- what goes

  /**
   * Removals of what VPP has and nobody wants, once nothing that it has refers to it: policies before their rules, these before their sets.
   * Each is forgotten when it is asked for, and not before.
   */
  *unused(objects: NpolObjects): Generator<Operation> {
    const removal = (object: VppObject): Operation => ({ action: 'remove', object });
    for (const key of this.of_policies.idle(this.idle.policies)) {
      const known = this.policies.get(key);
      if (known === undefined) continue;
      const is_current = this.#policy_keys.get(known.name) === key;
      if (is_current && objects.policy(known.name) !== undefined) continue;
      if (is_current) this.#policy_keys.delete(known.name);
      this.policies.delete(key);
      this.#policy_names.delete(key);
      this.of_rules.forget(key);
      yield removal({ kind: 'npol_policy', name: key, rx: [], tx: [] });
    }
    for (const key of this.of_rules.idle(this.idle.rules)) {
      const known = this.rules.get(key);
      if (known === undefined) continue;
      if (objects.rule(ruleName(known.rule)) !== undefined && this.ruleKey(known.rule) === key) continue;
      this.rules.delete(key);
      this.of_sets.forget(key);
      yield removal({ kind: 'npol_rule', name: key, rule: deny_all, sets: {} });
    }
    for (const key of this.of_sets.idle(this.idle.sets)) {
      const known = this.sets.get(key);
      if (known === undefined) continue;
      const is_current = this.#set_keys.get(known.name) === key;
      if (is_current && objects.set(known.name) !== undefined) continue;
      if (is_current) this.#forgetSet(known);
      this.sets.delete(key);
      yield removal({ kind: 'npol_set', name: key, ports: false });
    }
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
}
