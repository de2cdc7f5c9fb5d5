/** What VPP has answered of one operation, taken in: what it has now, what it refuses, and what is left of it without a name. */
import { ruleName } from '../objects/npol.js';
import { keyOf, type VppObject } from '../objects/object.js';
import type { NpolInterfaceObject, NpolPolicyObject } from '../objects/policy.js';
import type { Outcome } from '../reconcile/operation.js';
import type { NpolFaults } from './npol-faults.js';
import { type NpolNumbers, pool_of_kind } from './npol-numbers.js';
import type { NpolThere } from './npol-there.js';

interface Parts {
  readonly there: NpolThere;
  readonly faults: NpolFaults;
  readonly numbers: NpolNumbers;
}

export function settleOutcome(parts: Parts, { operation: { action, object }, error }: Outcome): void {
  const { there, faults } = parts;
  if (action === 'remove') return settleRemoval(parts, object, error);
  faults.settle(keyOf(object), object, error);
  switch (object.kind) {
    case 'npol_set':
    case 'npol_members':
      if (error !== undefined) faults.setFailed(object.kind === 'npol_set' ? object.name : object.set);
      return;
    case 'npol_rule': {
      const { name, rule } = object;
      if (error !== undefined) return faults.defer('rules', ruleName(rule));
      const sets = Object.values(object.sets);
      there.rules.set(name, { rule, sets });
      return there.of_sets.set(name, sets);
    }
    case 'npol_policy':
      return settlePolicy(parts, object, error);
    case 'npol_interface':
      return settleInterface(parts, object, error);
  }
}

function settlePolicy(
  { there, faults }: Parts,
  { name: key, rx, tx }: NpolPolicyObject,
  error: Error | undefined,
): void {
  const name = there.policyName(key);
  if (error === undefined) {
    there.policies.set(key, { name, content: JSON.stringify([rx, tx]) });
    return there.of_rules.set(key, [...rx, ...tx]);
  }
  // It is the one or the other.
  if (there.policies.has(key)) {
    there.policies.set(key, { name, content: '' });
    there.of_rules.add(key, [...rx, ...tx]);
  }
  faults.defer('policies', name);
}

function settleInterface(
  { there, faults }: Parts,
  object: NpolInterfaceObject,
  error: Error | undefined,
): void {
  const { interface: tag } = object;
  const policies = [...object.rx.policies, ...object.tx.policies, ...object.profiles];
  if (error === undefined) {
    there.of_policies.set(tag, policies);
    there.told.set(tag, JSON.stringify(object));
    return;
  }
  there.of_policies.add(tag, policies);
  there.told.delete(tag);
  faults.defer('interfaces', tag);
}

/** What cannot be removed has no name any more. */
function settleRemoval({ there, faults, numbers }: Parts, object: VppObject, error: Error | undefined): void {
  const key = keyOf(object);
  switch (object.kind) {
    case 'npol_interface':
      there.interfaceIsGone(object.interface);
      return faults.forget(key);
    case 'npol_members':
      if (error === undefined) return;
      faults.settle(key, object, error);
      return faults.setFailed(object.set);
    case 'npol_set':
    case 'npol_rule':
    case 'npol_policy':
      faults.forget(key);
      if (error !== undefined) numbers.leaves(pool_of_kind[object.kind]!);
      return;
  }
}
