/** Which addresses of its uplinks the node speaks from, and which VPP gets. Pure. */
import { isGroup, isLinkLocal, networkOf, splitPrefix } from '../ip/prefix.js';
import { addressBits, type Family, familyOf } from '../ip/text.js';
import type { Address } from '../linux/network.js';
import type { NodeInputs, Uplink } from './node-inputs.js';
import { hostPrefix } from './tables.js';

/** `IFA_F_*`. */
const temporary = 0x01;
const duplicate = 0x08;
const deprecated = 0x20;

/**
 * The node's own address of a family, with the mask that VPP gets: the first in the kernel's order of those that Linux would speak from. What is
 * deprecated, temporary, or alone in its prefix beside one that is not (as virtual addresses are) comes last.
 */
export function nodeAddress(
  inputs: Pick<NodeInputs, 'uplinks' | 'uplink_128_to_64'>,
  family: Family,
): string | undefined {
  const main = inputs.uplinks.find((uplink) => uplink.is_main);
  if (main === undefined) return undefined;
  const addresses = usableAddresses(main).filter((address) => address.family === family);
  const rank = ({ flags, preferred_s, prefix }: Address): number =>
    (preferred_s === 0 || flags & deprecated ? 4 : 0) +
    (family === 6 && flags & temporary ? 2 : 0) +
    (splitPrefix(prefix).length === addressBits(family) ? 1 : 0);
  const [best] = [...addresses].sort((a, b) => rank(a) - rank(b));
  return best && vppPrefix(best, addresses, inputs.uplink_128_to_64);
}

/** See NodeReady. */
export function onLinkPrefixes(uplinks: readonly Uplink[]): readonly string[] {
  const prefixes = uplinks.flatMap(({ addresses }) => addresses.map(({ prefix }) => networkOf(prefix)));
  return [...new Set(prefixes)].filter((prefix) => !isLinkLocal(prefix) && !isOfOne(prefix)).sort();
}

const isOfOne = (prefix: string): boolean => prefix === hostPrefix(splitPrefix(prefix).address);

/** All addresses of this node's uplinks, as prefixes. */
export function ownAddresses({ uplinks }: Pick<NodeInputs, 'uplinks'>): readonly string[] {
  return uplinks.flatMap((uplink) =>
    usableAddresses(uplink).map(({ prefix }) => hostPrefix(splitPrefix(prefix).address)),
  );
}

/** The addresses that VPP gets, in the kernel's order. */
export function vppAddresses(uplink: Pick<Uplink, 'addresses'>, to_64: boolean): string[] {
  const addresses = usableAddresses(uplink);
  return addresses.map((address) => vppPrefix(address, addresses, to_64));
}

/** Without link-local ones, groups that were joined by an address, and what another node has as well. */
function usableAddresses({ addresses }: Pick<Uplink, 'addresses'>): Address[] {
  return addresses.filter(
    ({ prefix, family, flags }) =>
      !isLinkLocal(prefix) && !isGroup(prefix) && !(family === 6 && flags & duplicate),
  );
}

/** See `NodeInputs.uplink_128_to_64`. Not where another address says what is on the link: this one is virtual then. */
function vppPrefix({ prefix }: Address, all: readonly Address[], to_64: boolean): string {
  if (!to_64 || !prefix.endsWith('/128')) return prefix;
  const { address } = splitPrefix(prefix);
  const is_beside = all.some((other) => {
    const { address: own, length } = splitPrefix(other.prefix);
    const shared = Math.min(length, 64);
    return (
      other.family === 6 &&
      length < 128 &&
      networkOf(`${own}/${shared}`) === networkOf(`${address}/${shared}`)
    );
  });
  return is_beside ? prefix : `${address}/64`;
}

export function linkLocalOf(uplink: Pick<Uplink, 'addresses'>): string | undefined {
  const found = uplink.addresses.find((address) => address.family === 6 && isLinkLocal(address.prefix));
  return found && splitPrefix(found.prefix).address;
}

/**
 * VPP refuses an address whose subnet overlaps another one's with a different mask: the widest stay. One of IPv6 takes the mask of those, for
 * VPP answers neighbour solicitations only for what an interface has.
 */
export function splitOverlapping(prefixes: readonly string[]): { own: string[]; foreign: string[] } {
  const own = new Map<string, string>();
  const foreign: string[] = [];
  const inOrder = [...prefixes].sort((a, b) => splitPrefix(a).length - splitPrefix(b).length);
  for (const prefix of inOrder) {
    const { address, length } = splitPrefix(prefix);
    const clash = [...own.values()].find((other) => {
      const { length: wider } = splitPrefix(other);
      return wider !== length && familyOf(other) === familyOf(prefix) && contains(networkOf(other), address);
    });
    if (clash === undefined) own.set(prefix, prefix);
    else if (familyOf(prefix) === 6) own.set(prefix, `${address}/${splitPrefix(clash).length}`);
    else foreign.push(prefix);
  }
  return { own: prefixes.flatMap((prefix) => own.get(prefix) ?? []), foreign };
}

/** Of one family. `prefix`: in its one form. */
export function contains(prefix: string, address: string): boolean {
  return networkOf(`${address}/${splitPrefix(prefix).length}`) === prefix;
}
