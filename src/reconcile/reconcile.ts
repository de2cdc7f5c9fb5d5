/** What a small owner asks in one go, where it keeps no model: a pod, the node. Pure. */
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import { Model } from './model.js';
import type { Operation, Outcome } from './operation.js';

const none: ReadonlySet<ObjectKey> = new Set();

/**
 * The least ordered list of operations that makes VPP hold `desired` and nothing else. The caller hands in the part of the actual
 * objects that it owns; what it does not hand in stays untouched. `unsure`: keys of objects that may or may not be there.
 */
export function reconcile(
  desired: Iterable<VppObject>,
  actual: Iterable<VppObject>,
  unsure: ReadonlySet<ObjectKey> = none,
): Operation[] {
  const model = holding(actual, unsure);
  for (const object of desired) model.want(object);
  const operations: Operation[] = [];
  // What goes when nothing leads by it any more is given in a second round.
  for (;;) {
    const taken = model.take(Number.POSITIVE_INFINITY);
    operations.push(...taken);
    if (!model.keeps) return operations;
    model.settle(taken.map((operation) => ({ operation })));
  }
}

/** What has to go so that nothing of `objects` is left, in a safe order. */
export function removal(objects: Iterable<VppObject>): Operation[] {
  return reconcile([], objects);
}

/** What VPP holds after operations, as far as their outcomes tell. */
export function applyOutcomes(actual: Iterable<VppObject>, outcomes: Iterable<Outcome>): VppObject[] {
  const model = holding(actual);
  model.settle(outcomes);
  return [...model.allThere()];
}

function holding(objects: Iterable<VppObject>, unsure = none): Model {
  const model = new Model();
  for (const object of objects) model.seen(object, unsure.has(keyOf(object)));
  return model;
}
