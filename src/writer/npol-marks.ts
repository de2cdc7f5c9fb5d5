/** What is to be looked at, by name. */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { RuleName, SetName } from '../objects/npol.js';
import type { TouchedObjects } from '../policies/objects.js';

export interface Marks extends TouchedObjects {
  readonly interfaces: Set<InterfaceTag>;
  readonly policies: Set<string>;
  readonly rules: Set<RuleName>;
  readonly sets: Set<SetName>;
}

export function emptyMarks(): Marks {
  return { interfaces: new Set(), policies: new Set(), rules: new Set(), sets: new Set() };
}

export function addMarks(to: Marks, { interfaces, policies, rules, sets }: TouchedObjects): void {
  for (const name of interfaces) to.interfaces.add(name);
  for (const name of policies) to.policies.add(name);
  for (const name of rules) to.rules.add(name);
  for (const name of sets) to.sets.add(name);
}
