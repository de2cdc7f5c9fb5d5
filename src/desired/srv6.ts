/**
 * This node's own SIDs, and the binding SIDs that it asks for. Each follows from the pools and the name of the node: nothing is allocated that could leak,
 * and every life of this program, over whichever VPP, has the same. Pure.
 */
import { createHash } from 'node:crypto';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { networkOf, splitPrefix } from '../ip/prefix.js';
import { type Family, familyOf, formatAddress, parseAddress } from '../ip/text.js';
import type { Srv6Behavior } from '../objects/srv6.js';

/** CALICOVPP_SRV6: IPv6 prefixes. */
export interface Srv6Pools {
  readonly localsid_pool: string;
  readonly policy_pool: string;
}

/** What another node needs to send packets of this family here. */
export interface OwnSid {
  readonly family: Family;
  readonly sid: string;
  readonly behavior: Srv6Behavior;
  /** That others are asked to use for a policy to it. */
  readonly bsid: string;
}

export interface OwnSids {
  /** All SIDs of this node are in it, and it is this node's alone: the others are told that it leads here. */
  readonly locator: string;
  readonly sids: readonly OwnSid[];
}

/**
 * What pods leave free of the uplink's MTU: VPP says nothing to a pod whose packet is too long with what is around it. The Go implementation's, for any
 * encapsulation; a header of IPv6 has 40 bytes, and behind it come 8 and 16 for each segment where there are several.
 */
export const srv6_headers_bytes = 60;

/** Around each packet that goes by so many segments. */
export const srv6HeadersOf = (segments: number): number => (segments === 1 ? 40 : 48 + 16 * segments);

/** A node's own pool has this name, as for the Go implementation. */
export const sidPoolName = (node_name: string): string => `${sid_pool_names}${node_name}`;
export const sid_pool_names = 'sr-localsids-pool-';

/** Bits of a SID that say what it does. */
const function_bits = 16;
const functions: readonly {
  readonly family: Family;
  readonly behavior: Srv6Behavior;
  readonly number: number;
}[] = [
  { family: 4, behavior: 'end_dt4', number: 0xd4 },
  { family: 6, behavior: 'end_dt6', number: 0xd6 },
];
/** Where names are spread over a pool, two of a thousand nodes are in each other's way once in 500 million clusters. */
const locator_bits_min = 48;

/** `pool`: of this node's own name, if there is one. A text: why there are none, and what to do. */
export function ownSids(
  { localsid_pool, policy_pool }: Srv6Pools,
  node_name: string,
  pool: Pick<IpPool, 'name' | 'prefix'> | undefined,
): OwnSids | string {
  const from = pool?.prefix ?? localsid_pool;
  const { length } = splitPrefix(from);
  if (familyOf(from) !== 6)
    return `${pool === undefined ? 'localsidPool of CALICOVPP_SRV6' : `IPPool ${pool.name}`} (${from}) is no IPv6 prefix: SIDs are IPv6 addresses`;
  if (familyOf(policy_pool) !== 6)
    return `policyPool of CALICOVPP_SRV6 (${policy_pool}) is no IPv6 prefix: binding SIDs are IPv6 addresses`;
  const locator_length = 128 - function_bits;
  if (pool !== undefined && length > locator_length)
    return `IPPool ${pool.name} (${from}) has no room for SIDs: give it a prefix of /${locator_length} or shorter`;
  if (pool === undefined && length > locator_length - locator_bits_min)
    return `localsidPool of CALICOVPP_SRV6 (${from}) has no room for a part of each node: give it a prefix of /${locator_length - locator_bits_min} or shorter, or each node an IPPool ${sidPoolName(node_name)}`;
  const locator =
    pool === undefined ? networkOf(`${within(from, node_name)}/${locator_length}`) : networkOf(from);
  const start = parseAddress(splitPrefix(locator).address);
  const sids = functions.map(({ family, behavior, number }) => {
    const bytes = Buffer.from(start);
    bytes.writeUInt16BE(number, 14);
    const sid = formatAddress(bytes);
    return { family, sid, behavior, bsid: within(policy_pool, `${node_name} ${sid}`) };
  });
  return { locator, sids };
}

/** The address of this prefix that is that of `name`. */
export function within(prefix: string, name: string): string {
  const { address, length } = splitPrefix(networkOf(prefix));
  const bytes = parseAddress(address);
  const spread = createHash('sha256').update(name).digest();
  for (const [at, byte] of bytes.entries()) {
    const free = 0xff >> Math.min(8, Math.max(0, length - 8 * at));
    bytes[at] = byte | (spread[at]! & free);
  }
  return formatAddress(bytes);
}
