/** What VPP holds after a transaction, as far as its outcomes tell. */
import type { VppObject } from '../desired/objects.js';
import type { TransactionResult } from '../messages/vpp.js';
import { diesWithInterface, interfaceMade, interfacesUsed, keyOf } from './order.js';

/** `actual` with the operations carried out; when they were rolled back, without what was added. */
export function applyOutcomes(
  actual: readonly VppObject[],
  { outcomes }: Pick<TransactionResult, 'outcomes'>,
  rolled_back = false,
): VppObject[] {
  const held = new Map(actual.map((object) => [keyOf(object), object]));
  for (const { operation, error } of outcomes) {
    if (error !== undefined) continue;
    const { action, object } = operation;
    if (action === 'add' && !rolled_back) held.set(keyOf(object), object);
    else remove(held, object);
  }
  return [...held.values()];
}

function remove(held: Map<string, VppObject>, object: VppObject): void {
  held.delete(keyOf(object));
  const gone = interfaceMade(object);
  if (gone === undefined) return;
  for (const [key, other] of held) {
    if (diesWithInterface(other) && interfacesUsed(other).includes(gone)) held.delete(key);
  }
}
