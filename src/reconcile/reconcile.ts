/**
 * Desired against actual: the smallest ordered list of operations that makes VPP hold what is desired and nothing else.
 * Pure. The caller hands in the part of the actual objects that it owns; what it does not hand in stays untouched.
 */
import { isDeepStrictEqual } from 'node:util';
import type { InterfaceTag, VppObject } from '../desired/objects.js';
import { type Family, familyOf } from '../ip/text.js';
import {
  addPlace,
  asShown,
  changeOf,
  diesWithInterface,
  interfaceMade,
  interfacesUsed,
  isDangling,
  isObservable,
  isSetting,
  keyOf,
  outlives,
  removePlace,
  visibleFields,
} from './order.js';

export interface Operation {
  readonly action: 'add' | 'remove';
  readonly object: VppObject;
}

/**
 * Removals first, then additions, each in the order that `order.ts` gives. Reconciling the result again gives an empty
 * list, but for objects that no dump shows: those are added again whenever `actual` does not contain them.
 */
export function reconcile(desired: Iterable<VppObject>, actual: Iterable<VppObject>): Operation[] {
  const wanted = byKey(desired);
  const there = byKey(actual);
  const remade = remadeInterfaces(wanted, there);
  const rebound = reboundInterfaces(wanted, there);
  const isRemade = (object: VppObject): boolean =>
    interfacesUsed(object).some((tag) => remade.has(tag)) ||
    (object.kind === 'interface_address' &&
      rebound.has(bindingKey(object.interface, familyOf(object.prefix))));

  const removals: VppObject[] = [];
  const additions: VppObject[] = [];
  for (const [key, old] of there) {
    const now = wanted.get(key);
    const replaced =
      now !== undefined && !same(now, old) && (changeOf(now) === 'remove_first' || isDangling(old));
    if (now === undefined ? !isSetting(old) : replaced || isRemade(old)) removals.push(old);
  }
  for (const [key, now] of wanted) {
    const old = there.get(key);
    if (old === undefined || !same(now, old) || isRemade(now) || isRemade(old)) additions.push(now);
  }
  return [...orderRemovals(removals), ...orderAdditions(additions)];
}

/** What has to go so that nothing of `objects` is left, in a safe order. */
export function removal(objects: Iterable<VppObject>): Operation[] {
  return orderRemovals([...objects]);
}

/** True if adding the object again is needed to be sure of it after an adoption. */
export function isUnknown(object: VppObject): boolean {
  return !isObservable(object);
}

function byKey(objects: Iterable<VppObject>): Map<string, VppObject> {
  const map = new Map<string, VppObject>();
  for (const object of objects) map.set(keyOf(object), object);
  return map;
}

/** Interfaces whose object is gone or has to be made anew: all that hangs on them is removed with them. */
function remadeInterfaces(wanted: Map<string, VppObject>, there: Map<string, VppObject>): Set<InterfaceTag> {
  const tags = new Set<InterfaceTag>();
  for (const [key, old] of there) {
    const tag = interfaceMade(old);
    if (tag === undefined) continue;
    const now = wanted.get(key);
    if (now === undefined || (!same(now, old) && changeOf(now) === 'remove_first')) tags.add(tag);
  }
  return tags;
}

/** Bindings that change: VPP does not bind an interface that has an address, so its addresses go and come back. */
function reboundInterfaces(wanted: Map<string, VppObject>, there: Map<string, VppObject>): Set<string> {
  const bindings = new Set<string>();
  for (const [key, old] of there) {
    if (old.kind !== 'interface_table') continue;
    const now = wanted.get(key);
    if (now !== undefined && !same(now, old)) bindings.add(bindingKey(old.interface, old.family));
  }
  return bindings;
}

function bindingKey(tag: InterfaceTag, family: Family): string {
  return `${family}/${tag}`;
}

function orderRemovals(objects: VppObject[]): Operation[] {
  const gone = new Set(objects.flatMap((object) => interfaceMade(object) ?? []));
  return [...byKey([...objects.flatMap(outlives), ...objects]).values()]
    .filter((object) => !(diesWithInterface(object) && interfacesUsed(object).every((tag) => gone.has(tag))))
    .sort((a, b) => removePlace(a) - removePlace(b))
    .map((object) => ({ action: 'remove', object }));
}

function orderAdditions(objects: VppObject[]): Operation[] {
  return objects.sort((a, b) => addPlace(a) - addPlace(b)).map((object) => ({ action: 'add', object }));
}

function same(a: VppObject, b: VppObject): boolean {
  const visible = visibleFields(a);
  if (visible === undefined) return isDeepStrictEqual(asShown(a), asShown(b));
  return visible.every((field) =>
    isDeepStrictEqual(a[field as keyof VppObject], b[field as keyof VppObject]),
  );
}
