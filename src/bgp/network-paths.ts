/** Paths of pods in networks beside the default one, in GoBGP's messages, and back: VPN routes (RFC 4364) whose route distinguisher has the network's VNI. Pure. */
import { families, type Path, type PathInput } from 'gobgp-grpc-stubs';
import type { NetworkAddress } from '../desired/network-addresses.js';
import { networkRouteKey } from '../desired/network-routes.js';
import { canonicalPrefix } from '../ip/spelling.js';
import { type Family, parsePrefix } from '../ip/text.js';
import type { LocalPath } from './local-paths.js';

export interface NetworkPathOf {
  readonly vni: number;
  /** With its length. */
  readonly prefix: string;
  /** AS in the route distinguisher. */
  readonly admin: number;
}

/** What stands for an AS of more than 16 bits (RFC 6793): beside such a one the VNI would have no room. */
const as_trans = 23_456;
const admin_max = 65_535;

export const vpn_family = (family: Family) => (family === 4 ? families.ipv4_vpn : families.ipv6_vpn);

export function networkPath({ vni, prefix, next_hop }: NetworkAddress, as_number: number): LocalPath {
  const admin = as_number > admin_max ? as_trans : as_number;
  return {
    prefix: networkRouteKey(vni, prefix),
    next_hop,
    communities: [],
    local_pref: 100,
    network: { vni, prefix, admin },
  };
}

export function networkPathMessage({ vni, prefix, admin }: NetworkPathOf, next_hop: string): PathInput {
  const { family: number, address, length } = parsePrefix(prefix);
  const family = vpn_family(number);
  const nlri = {
    type: 'labeled_vpn_ip_prefix',
    labels: [],
    rd: { type: 'two_octet_asn', admin, assigned: vni },
    prefix: address,
    prefix_len: length,
  } as const;
  return {
    family,
    nlri,
    pattrs: [
      { type: 'origin', origin: 0 },
      number === 4
        ? { type: 'next_hop', next_hop }
        : { type: 'mp_reach', family, next_hops: [next_hop], nlris: [nlri] },
    ],
  };
}

/** What a path tells of a network; undefined: it is none of these. Whatever form the route distinguisher has, its second number is the VNI. */
export function networkPathOf({ nlri }: Pick<Path, 'nlri'>): NetworkPathOf | undefined {
  if (nlri.type !== 'labeled_vpn_ip_prefix') return undefined;
  const { rd } = nlri;
  if (!('assigned' in rd)) return undefined;
  const prefix = canonicalPrefix(`${nlri.prefix}/${nlri.prefix_len}`);
  if (prefix === undefined) return undefined;
  return { vni: rd.assigned, prefix, admin: typeof rd.admin === 'number' ? rd.admin : 0 };
}

/**
 * Of a path that others tell. With its route distinguisher: nodes of several AS may tell the same address, which is moved from one to the other, and what
 * one of them takes back the other one has told all the same.
 */
export function networkKeyOf(path: Pick<Path, 'nlri'>): string | undefined {
  const of = networkPathOf(path);
  if (of === undefined || path.nlri.type !== 'labeled_vpn_ip_prefix') return undefined;
  const { rd } = path.nlri;
  return networkRouteKey(of.vni, of.prefix, `${rd.type}:${'admin' in rd ? rd.admin : ''}`);
}
