/** Paths of this node's own: what GoBGP is to announce. Pure. */
import { type AttributeInput, families, type Path, type PathInput } from 'gobgp-grpc-stubs';
import { isNetworkRouteKey, networkRouteKey } from '../desired/network-routes.js';
import { isSrPolicyKey, srPolicyKey, srPolicyText } from '../desired/sr-policy.js';
import { parsePrefix } from '../ip/text.js';
import { isLarge, localPrefOf } from './filter-rules.js';
import { type NetworkPathOf, networkPathMessage, networkPathOf } from './network-paths.js';
import type { BgpSettings } from './settings.js';
import { type SrPolicyOf, srPathMessage, srPolicyOf } from './sr-paths.js';

export interface LocalPath {
  /** Of an SR policy its key. */
  readonly prefix: string;
  /** The node's address of the prefix's family. */
  readonly next_hop: string;
  /** In order, each once: `65000:100`, `65000:1:2`. */
  readonly communities: readonly string[];
  readonly local_pref: number;
  /** Absent: it is a route. */
  readonly sr_policy?: SrPolicyOf;
  /** Absent: it is of the default network. */
  readonly network?: NetworkPathOf;
}

/** Neither an SR policy's key nor a network's: rules know it by its prefix. */
export const isPrefix = (key: string): boolean => !isSrPolicyKey(key) && !isNetworkRouteKey(key);

/** Undefined where the node has no address of the family. */
export function localPath(
  prefix: string,
  addresses: { readonly ip4?: string; readonly ip6?: string },
  settings: Pick<BgpSettings, 'prefix_advertisements' | 'priority4' | 'priority6'>,
): LocalPath | undefined {
  const { family } = parsePrefix(prefix);
  const next_hop = family === 4 ? addresses.ip4 : addresses.ip6;
  if (next_hop === undefined) return undefined;
  const priority = family === 4 ? settings.priority4 : settings.priority6;
  const communities = settings.prefix_advertisements.flatMap((each) =>
    isWithin(prefix, each.prefix) ? each.communities : [],
  );
  return {
    prefix,
    next_hop,
    communities: [...new Set(communities)].sort(),
    local_pref: localPrefOf(priority),
  };
}

/** Whether all of a prefix lies in another. */
export function isWithin(prefix: string, outer: string): boolean {
  const inner = parsePrefix(prefix);
  const around = parsePrefix(outer);
  if (inner.family !== around.family || inner.length < around.length) return false;
  const whole = around.length >> 3;
  const rest = 0xff00 >> (around.length & 7);
  return (
    inner.bytes.subarray(0, whole).equals(around.bytes.subarray(0, whole)) &&
    ((inner.bytes[whole] ?? 0) & rest & 0xff) === ((around.bytes[whole] ?? 0) & rest & 0xff)
  );
}

export function samePath(a: LocalPath, b: LocalPath): boolean {
  return (
    a.next_hop === b.next_hop &&
    a.local_pref === b.local_pref &&
    saysOf(a) === saysOf(b) &&
    a.network?.admin === b.network?.admin &&
    a.communities.length === b.communities.length &&
    a.communities.every((community, index) => community === b.communities[index])
  );
}

const saysOf = ({ sr_policy }: LocalPath): string | undefined => sr_policy && srPolicyText(sr_policy.says);

export function pathMessage(path: LocalPath): PathInput {
  const { prefix, next_hop, communities, local_pref, sr_policy, network } = path;
  if (network !== undefined) return networkPathMessage(network, next_hop);
  if (sr_policy !== undefined) return srPathMessage(sr_policy, next_hop);
  const { family: number, address, length } = parsePrefix(prefix);
  const family = number === 4 ? families.ipv4_unicast : families.ipv6_unicast;
  const nlri = { type: 'prefix', prefix: address, prefix_len: length } as const;
  const standard = communities.filter((community) => !isLarge(community));
  const large = communities.filter(isLarge);
  const pattrs: AttributeInput[] = [
    { type: 'origin', origin: 0 },
    number === 4
      ? { type: 'next_hop', next_hop }
      : { type: 'mp_reach', family, next_hops: [next_hop], nlris: [nlri] },
  ];
  pattrs.push({ type: 'local_pref', local_pref });
  if (standard.length > 0)
    pattrs.push({
      type: 'communities',
      communities: standard.map((community) => {
        const [high = 0, low = 0] = community.split(':').map(Number);
        return high * 65_536 + low;
      }),
    });
  if (large.length > 0)
    pattrs.push({
      type: 'large_communities',
      communities: large.map((community) => {
        const [global_admin = 0, local_data1 = 0, local_data2 = 0] = community.split(':').map(Number);
        return { global_admin, local_data1, local_data2 };
      }),
    });
  return { family, nlri, pattrs };
}

/** A path of unicast as `address/length`; undefined for what is no such path. */
export function prefixOf({ nlri, family }: Pick<Path, 'nlri' | 'family'>): string | undefined {
  if (nlri.type !== 'prefix' || family.safi !== 'unicast' || nlri.prefix === '') return undefined;
  return `${nlri.prefix}/${nlri.prefix_len}`;
}

/** Where a path leads to; undefined where it says nothing of it. */
export function nextHopOf(path: Pick<Path, 'pattrs'>): string | undefined {
  for (const attribute of path.pattrs) {
    if (attribute.type === 'next_hop') return attribute.next_hop || undefined;
    if (attribute.type === 'mp_reach') return attribute.next_hops[0] || undefined;
  }
  return undefined;
}

/** A path of this node's own as gobgpd tells it. */
export function localPathOf(path: Path): LocalPath | undefined {
  const next_hop = nextHopOf(path);
  const sr_policy = srPolicyOf(path);
  if (sr_policy !== undefined && next_hop !== undefined)
    return { prefix: srPolicyKey(sr_policy.name), next_hop, communities: [], local_pref: 100, sr_policy };
  const network = networkPathOf(path);
  if (network !== undefined && next_hop !== undefined)
    return {
      prefix: networkRouteKey(network.vni, network.prefix),
      next_hop,
      communities: [],
      local_pref: 100,
      network,
    };
  const prefix = prefixOf(path);
  if (prefix === undefined || next_hop === undefined) return undefined;
  const communities: string[] = [];
  // BGP's own default.
  let local_pref = 100;
  for (const attribute of path.pattrs) {
    if (attribute.type === 'communities')
      for (const each of attribute.communities)
        communities.push(`${Math.floor(each / 65_536)}:${each % 65_536}`);
    if (attribute.type === 'large_communities')
      for (const { global_admin, local_data1, local_data2 } of attribute.communities)
        communities.push(`${global_admin}:${local_data1}:${local_data2}`);
    if (attribute.type === 'local_pref') local_pref = attribute.local_pref;
  }
  return {
    prefix,
    next_hop,
    communities: communities.sort(),
    local_pref,
  };
}
