/** All that npol is to have, each object once and for as long as an interface needs it. */
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  type NpolDirection,
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
import type { NpolDirectionNames, NpolInterfaceObject } from '../objects/policy.js';

interface Counted<T> {
  value: T;
  count: number;
}

/** What may differ from what was last taken, by name; an object that is no longer in its table is to go. */
export interface TouchedObjects {
  readonly interfaces: ReadonlySet<InterfaceTag>;
  readonly policies: ReadonlySet<string>;
  readonly rules: ReadonlySet<RuleName>;
  readonly sets: ReadonlySet<SetName>;
}

class Marks implements TouchedObjects {
  readonly interfaces = new Set<InterfaceTag>();
  readonly policies = new Set<string>();
  readonly rules = new Set<RuleName>();
  readonly sets = new Set<SetName>();
}

/** Counts references: of interfaces to policies, of those to rules, of those to sets. A change costs what it touches. */
export class NpolObjects {
  readonly #interfaces = new Map<InterfaceTag, NpolInterface>();
  readonly #policies = new Map<string, Counted<NpolPolicy>>();
  readonly #rules = new Map<RuleName, Counted<NpolRule>>();
  readonly #sets = new Map<SetName, Counted<SetRef>>();
  #touched = new Marks();

  interface(tag: InterfaceTag): NpolInterface | undefined {
    return this.#interfaces.get(tag);
  }

  policy(name: string): NpolPolicy | undefined {
    return this.#policies.get(name)?.value;
  }

  rule(name: RuleName): NpolRule | undefined {
    return this.#rules.get(name)?.value;
  }

  set(name: SetName): SetRef | undefined {
    return this.#sets.get(name)?.value;
  }

  get counts(): {
    readonly interfaces: number;
    readonly policies: number;
    readonly rules: number;
    readonly sets: number;
  } {
    return {
      interfaces: this.#interfaces.size,
      policies: this.#policies.size,
      rules: this.#rules.size,
      sets: this.#sets.size,
    };
  }

  get tags(): Iterable<InterfaceTag> {
    return this.#interfaces.keys();
  }

  /** All that there is, for a VPP that has nothing of it. */
  names(): TouchedObjects {
    return {
      interfaces: new Set(this.#interfaces.keys()),
      policies: new Set(this.#policies.keys()),
      rules: new Set(this.#rules.keys()),
      sets: new Set(this.#sets.keys()),
    };
  }

  /** Undefined: the interface is no more. A policy that others have, too, becomes for all of them what it is here. */
  configure(tag: InterfaceTag, wanted: NpolInterface | undefined): void {
    const there = this.#interfaces.get(tag);
    if (wanted !== undefined) {
      for (const policy of policiesOf(wanted)) this.#acquire(policy);
      this.#interfaces.set(tag, wanted);
    } else this.#interfaces.delete(tag);
    if (there !== undefined) for (const { name } of policiesOf(there)) this.#release(name);
    if (shapeOf(there) !== shapeOf(wanted)) this.#touched.interfaces.add(tag);
  }

  take(): TouchedObjects {
    const touched = this.#touched;
    this.#touched = new Marks();
    return touched;
  }

  #acquire(policy: NpolPolicy): void {
    const there = this.#policies.get(policy.name);
    if (there?.value === policy) {
      there.count += 1;
      return;
    }
    const same = there !== undefined && saysOf(there.value) === saysOf(policy);
    for (const rule of rulesOf(policy)) this.#acquireRule(rule);
    if (there === undefined) this.#policies.set(policy.name, { value: policy, count: 1 });
    else {
      const { value } = there;
      there.value = policy;
      there.count += 1;
      for (const rule of rulesOf(value)) this.#releaseRule(rule);
    }
    if (!same) this.#touched.policies.add(policy.name);
  }

  #release(name: string): void {
    const there = this.#policies.get(name);
    if (there === undefined) throw new Error(`policy ${name} is released, and is not there`);
    there.count -= 1;
    if (there.count > 0) return;
    this.#policies.delete(name);
    this.#touched.policies.add(name);
    for (const rule of rulesOf(there.value)) this.#releaseRule(rule);
  }

  #acquireRule(rule: NpolRule): void {
    const name = ruleName(rule);
    const there = this.#rules.get(name);
    if (there !== undefined) {
      there.count += 1;
      return;
    }
    this.#rules.set(name, { value: rule, count: 1 });
    this.#touched.rules.add(name);
    for (const set of setsOf(rule.match)) this.#acquireSet(set);
  }

  #releaseRule(rule: NpolRule): void {
    const name = ruleName(rule);
    const there = this.#rules.get(name);
    if (there === undefined) throw new Error(`rule ${name} is released, and is not there`);
    there.count -= 1;
    if (there.count > 0) return;
    this.#rules.delete(name);
    this.#touched.rules.add(name);
    for (const set of setsOf(there.value.match)) this.#releaseSet(setName(set));
  }

  #acquireSet(set: SetRef): void {
    const name = setName(set);
    const there = this.#sets.get(name);
    if (there !== undefined) there.count += 1;
    else {
      this.#sets.set(name, { value: set, count: 1 });
      this.#touched.sets.add(name);
    }
  }

  #releaseSet(name: SetName): void {
    const there = this.#sets.get(name);
    if (there === undefined) throw new Error(`set ${name} is released, and is not there`);
    there.count -= 1;
    if (there.count > 0) return;
    this.#sets.delete(name);
    this.#touched.sets.add(name);
  }
}

function policiesOf({ rx, tx, profiles }: NpolInterface): NpolPolicy[] {
  return [...rx.policies, ...tx.policies, ...profiles];
}

function rulesOf({ rx, tx }: NpolPolicy): NpolRule[] {
  return [...rx, ...tx];
}

function saysOf({ rx, tx }: NpolPolicy): string {
  return `${rx.map(ruleName).join()} ${tx.map(ruleName).join()}`;
}

/** What VPP is told of an interface: which policies, by name, and the defaults. */
export function interfaceObject({
  tag,
  endpoint,
  rx,
  tx,
  profiles,
  invert,
}: NpolInterface): NpolInterfaceObject {
  const direction = ({ policies, policy_default, profile_default }: NpolDirection): NpolDirectionNames => ({
    policies: policies.map(({ name }) => name),
    policy_default,
    profile_default,
  });
  return {
    kind: 'npol_interface',
    interface: tag,
    ...(endpoint !== undefined && { endpoint }),
    rx: direction(rx),
    tx: direction(tx),
    profiles: profiles.map(({ name }) => name),
    invert,
  };
}

function shapeOf(of: NpolInterface | undefined): string | undefined {
  return of && JSON.stringify(interfaceObject(of));
}
