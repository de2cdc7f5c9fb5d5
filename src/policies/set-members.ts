/** The members of a set of VPP's. */
import { AddressSet } from '../felix/address-set.js';
import type { FelixSet } from '../felix/set.js';
import { no_port } from '../felix/set.js';
import type { SetRef } from '../objects/npol.js';

const nobody = new AddressSet();

/** Those of the one set of Felix's that it is, or what is in all of those that it is of. A set that is not there has none. */
export function membersOf(
  { ids, port = no_port }: SetRef,
  sets: Pick<ReadonlyMap<string, FelixSet | { members(port: number): AddressSet | undefined }>, 'get'>,
): AddressSet {
  const [first = nobody, ...more] = ids.map((id) => sets.get(id)?.members(port) ?? nobody);
  return more.reduce(both, first);
}

/** Of two prefixes that meet one holds the other, and it is the inner one that is in both. */
function both(a: AddressSet, b: AddressSet): AddressSet {
  const common = new AddressSet();
  for (const prefix of a) if (b.covers(prefix)) common.add(prefix);
  for (const prefix of b) if (a.covers(prefix)) common.add(prefix);
  return common;
}
