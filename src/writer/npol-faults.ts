/** What VPP refuses of npol, and what denies in its place until it is taken. */
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  type NpolInterface,
  type NpolPolicy,
  type NpolRule,
  type RuleName,
  ruleName,
  type SetName,
  setName,
  setsOf,
} from '../objects/npol.js';
import type { ObjectKey, VppObject } from '../objects/object.js';
import type { NpolRuleObject, SetKey } from '../objects/policy.js';
import type { NpolObjects } from '../policies/objects.js';
import { deny_all } from '../policies/translate.js';
import type { Operation } from '../reconcile/operation.js';
import { emptyMarks, type Marks } from './npol-marks.js';
import type { NpolThere } from './npol-there.js';

/** Of what VPP refuses, so much is named. */
const named_max = 100;

type RulesOfPolicy = Pick<NpolPolicy, 'rx' | 'tx'>;

export const denies: RuleName = ruleName(deny_all);

export const denial: NpolRuleObject = { kind: 'npol_rule', name: denies, rule: deny_all, sets: {} };

export class NpolFaults {
  readonly #there: NpolThere;
  /** Sets of which VPP has refused something: what is in them is not known. */
  readonly #bad_sets = new Set<SetName>();
  /** What VPP refuses, and why. */
  readonly #failed = new Map<ObjectKey, Error>();
  /** Policies in whose place VPP has one that denies everything. */
  readonly #closed = new Set<string>();
  /** Those that this round closes, or opens again. */
  readonly #turned = new Set<string>();
  /** What is tried again after a while. */
  #deferred = emptyMarks();

  constructor(there: NpolThere) {
    this.#there = there;
  }

  clear(): void {
    this.#bad_sets.clear();
    this.#failed.clear();
    this.#closed.clear();
    this.#turned.clear();
    this.#deferred = emptyMarks();
  }

  get count(): number {
    return this.#failed.size;
  }

  /** An interface may be judged by what an earlier life has left. What else VPP refuses is closed by something of this one. */
  get keepsEarlier(): boolean {
    for (const key of this.#failed.keys()) if (key.startsWith('npol_interface:')) return true;
    return false;
  }

  of(key: ObjectKey): Error | undefined {
    return this.#failed.get(key);
  }

  /** For people. */
  named(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#failed].slice(0, named_max).map(([key, { message }]) => [key, message]),
    );
  }

  /** It is another one by now, or is gone. */
  forget(key: ObjectKey): void {
    this.#failed.delete(key);
  }

  /** Another one may be taken. */
  policyChanges(name: string): void {
    this.#failed.delete(`npol_policy:${this.#there.policyKey(name)}`);
  }

  // --- answers of VPP's

  /** `key` is that of `object`. */
  settle(key: ObjectKey, object: VppObject, error: Error | undefined): void {
    if (error !== undefined) this.#failed.set(key, error);
    else if (!this.#isStillFailed(object)) this.#failed.delete(key);
  }

  /** Of members that were not taken others may follow; and of a policy that was not, what stands in its place. */
  #isStillFailed(object: VppObject): boolean {
    if (object.kind !== 'npol_policy') return object.kind === 'npol_members';
    return this.#closed.has(this.#there.policyName(object.name));
  }

  /** What is in it is not known: another copy is made. */
  setFailed(key: SetKey): void {
    const name = this.#there.setIsBad(key);
    if (name === undefined) return;
    this.#bad_sets.add(name);
    this.#deferred.sets.add(name);
  }

  defer<K extends keyof Marks>(kind: K, name: string): void {
    this.#deferred[kind].add(name);
  }

  /** What is to be tried again now. What fails again says so again. */
  takeDeferred(): Marks {
    const deferred = this.#deferred;
    this.#deferred = emptyMarks();
    this.#bad_sets.clear();
    this.#failed.clear();
    return deferred;
  }

  // --- what denies

  /** VPP refuses it, or something that it is made of. */
  isBroken(name: string, { rx, tx }: RulesOfPolicy): boolean {
    const failed = this.#failed;
    if (failed.size === 0) return false;
    if (failed.has(`npol_policy:${this.#there.policyKey(name)}`)) return true;
    return [...rx, ...tx].some(
      (rule) =>
        failed.has(`npol_rule:${this.#there.ruleKey(rule)}`) ||
        setsOf(rule.match).some((ref) => this.#bad_sets.has(setName(ref))),
    );
  }

  /** Of `rx` and `tx`. Closed where VPP refuses one of its rules. */
  rulesOf(name: string, policy: RulesOfPolicy): readonly [rx: readonly RuleName[], tx: readonly RuleName[]] {
    const is_broken = this.isBroken(name, policy);
    const keys = (rules: readonly NpolRule[]): readonly RuleName[] => {
      if (!is_broken) return rules.map((rule) => this.#there.ruleKey(rule));
      return rules.length === 0 ? [] : [denies];
    };
    return [keys(policy.rx), keys(policy.tx)];
  }

  contentOf(name: string, policy: RulesOfPolicy): string {
    return JSON.stringify(this.rulesOf(name, policy));
  }

  /** It is being planned. True: it is closed from now on. */
  turns(name: string, policy: RulesOfPolicy): boolean {
    const is_broken = this.isBroken(name, policy);
    if (is_broken !== this.#closed.has(name)) this.#turned.add(name);
    if (is_broken) this.#closed.add(name);
    else this.#closed.delete(name);
    return is_broken;
  }

  /** The first of its policies that denies in the place of itself. */
  closedOf({ rx, tx, profiles }: NpolInterface): string | undefined {
    if (this.#closed.size === 0) return undefined;
    return [...rx.policies, ...tx.policies, ...profiles].find(({ name }) => this.#closed.has(name))?.name;
  }

  /** What was planned for a set that VPP has not taken whole denies from its first moment on. */
  closeUnfilled(coming: Operation[]): Operation[] {
    if (this.#bad_sets.size === 0) return coming;
    const broken = new Set<RuleName>();
    const isBad = ({ match }: NpolRule): boolean =>
      setsOf(match).some((ref) => this.#bad_sets.has(setName(ref)));
    for (const [key, { rule }] of this.#there.rules) if (isBad(rule)) broken.add(key);
    let has_denial = this.#there.rules.has(denies);
    let needs_denial = false;
    const closing = coming.flatMap((operation) => {
      const { object } = operation;
      if (object.kind === 'npol_rule' && isBad(object.rule)) {
        broken.add(object.name);
        this.#deferred.rules.add(ruleName(object.rule));
        return [];
      }
      if (object.kind === 'npol_rule') has_denial ||= object.name === denies;
      if (object.kind !== 'npol_policy' || ![...object.rx, ...object.tx].some((key) => broken.has(key)))
        return [operation];
      const name = this.#there.policyName(object.name);
      this.#closed.add(name);
      this.#turned.add(name);
      needs_denial = true;
      const closed = (rules: readonly RuleName[]) => (rules.length === 0 ? [] : [denies]);
      return [{ ...operation, object: { ...object, rx: closed(object.rx), tx: closed(object.tx) } }];
    });
    return needs_denial && !has_denial ? [{ action: 'add', object: denial }, ...closing] : closing;
  }

  /** Interfaces of which this round has closed a policy, or opened it again. */
  *takeTurned(): Generator<InterfaceTag> {
    for (const name of this.#turned) yield* this.#there.of_policies.users(this.#there.policyKey(name));
    this.#turned.clear();
  }

  /** Policies that are to be closed, or to be what they are again; and interfaces that wait for that. */
  toBeTurned(objects: NpolObjects): Pick<Marks, 'policies' | 'interfaces'> {
    const found = emptyMarks();
    if (this.#failed.size === 0 && this.#closed.size === 0) return found;
    for (const name of objects.names().policies)
      if (this.isBroken(name, objects.policy(name)!) !== this.#closed.has(name)) found.policies.add(name);
    if (found.policies.size === 0) return found;
    for (const tag of this.#deferred.interfaces) found.interfaces.add(tag);
    this.#deferred.interfaces.clear();
    return found;
  }
}
