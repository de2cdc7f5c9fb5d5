/** The members of a set of VPP's. */
import { AddressSet } from '../felix/address-set.js';
import type { FelixSet } from '../felix/set.js';
import { no_port } from '../felix/set.js';
import type { SetRef } from '../objects/npol.js';

const nobody = new AddressSet();

/** Members that are looked at between two yields. */
const piece = 1024;

/** Those of the one set of Felix's that it is, or what is in all of those that it is of. A set that is not there has none. */
export function* membersOf(
  { ids, port = no_port }: SetRef,
  sets: Pick<ReadonlyMap<string, FelixSet | { members(port: number): AddressSet | undefined }>, 'get'>,
): Generator<void, AddressSet> {
  const [first = nobody, ...more] = ids.map((id) => sets.get(id)?.members(port) ?? nobody);
  let common = first;
  for (const members of more) common = yield* both(common, members);
  return common;
}

/** Of two prefixes that meet one holds the other, and it is the inner one that is in both. */
function* both(a: AddressSet, b: AddressSet): Generator<void, AddressSet> {
  const common = new AddressSet();
  let count = 0;
  for (const [inner, outer] of [
    [a, b],
    [b, a],
  ] as const)
    for (const prefix of inner) {
      if (outer.covers(prefix)) common.add(prefix);
      if (++count % piece === 0) yield;
    }
  return common;
}
