/**
 * What peers were told by policies that hold no more, and what is still to be taken away from them by a gobgpd that does not do so itself. It is kept in
 * gobgpd, beside the policies that came instead, in sets of which no statement is made: whoever adopts it finds what is left to do. Pure.
 */
import type { DefinedSetInput } from 'gobgp-grpc-stubs';
import { splitPrefix } from '../ip/prefix.js';
import { type Family, familyOf } from '../ip/text.js';
import type { WantedPolicies } from './policies.js';

/** By address of the peer, and by `all`: what nobody is to be told any more. */
export type Owed = ReadonlyMap<string, ReadonlySet<string>>;

const begins = 'owed ';

/** The same policies, with what is owed beside them. */
export function withOwed(policies: WantedPolicies, owed: Owed): WantedPolicies {
  const sets = [...owed].flatMap(([to, prefixes]) => [setOf(to, 4, prefixes), setOf(to, 6, prefixes)].flat());
  return sets.length === 0 ? policies : { ...policies, sets: [...policies.sets, ...sets] };
}

function setOf(to: string, family: Family, prefixes: ReadonlySet<string>): readonly DefinedSetInput[] {
  const of_family = [...prefixes].filter((prefix) => familyOf(prefix) === family);
  if (of_family.length === 0) return [];
  return [
    {
      defined_type: 'prefix',
      name: `${begins}${to} ${family}`,
      prefixes: of_family.map((prefix) => {
        const { length } = splitPrefix(prefix);
        return { ip_prefix: prefix, mask_length_min: length, mask_length_max: length };
      }),
    },
  ];
}

/** Of the sets that gobgpd tells. */
export function owedOf(
  sets: Iterable<{ readonly name: string; readonly prefixes: Iterable<{ readonly ip_prefix: string }> }>,
): Owed {
  const owed = new Map<string, Set<string>>();
  for (const { name, prefixes } of sets) {
    if (!name.startsWith(begins)) continue;
    const [, to = ''] = name.split(' ');
    const of_peer = owed.get(to) ?? new Set();
    for (const { ip_prefix } of prefixes) of_peer.add(ip_prefix);
    owed.set(to, of_peer);
  }
  return owed;
}
