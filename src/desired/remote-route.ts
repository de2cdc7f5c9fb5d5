/**
 * How one route to another node goes: flat, by a tunnel, or not at all. Pure: from the route, the pool that its addresses are of, and
 * the own node to VPP objects.
 */
import { isDeepStrictEqual } from 'node:util';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import type { Secret } from '../config/secret.js';
import { type Bits, bitsOf, holds, isGlobalUnicast } from '../ip/bits.js';
import { type Family, familyOf } from '../ip/text.js';
import type { InterfaceSwitch, InterfaceTag } from '../objects/interfaces.js';
import { ikeProfileName } from '../objects/ipsec.js';
import type { VppObject } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';
import { type IpipTunnel, ipipTag, type VxlanTunnel, vxlanTag } from '../objects/tunnels.js';
import { type WireguardInterface, wireguard_tag } from '../objects/wireguard.js';
import type { Srv6Settings } from './remote-policies.js';
import type { OwnSids, Srv6Pools } from './srv6.js';
import { default_table, hostPrefix, pods_table, srv6_table } from './tables.js';
import { endFamily, type WireguardSettings } from './wireguard.js';

/** The node that routes go out from. */
export interface OwnNode {
  /** Its addresses, without length. */
  readonly node: { readonly ip4?: string; readonly ip6?: string };
  /** The prefixes that they are on. */
  readonly subnets: { readonly ip4?: string; readonly ip6?: string };
  readonly main_uplink: InterfaceTag;
  /** Of the uplinks, the smallest. */
  readonly mtu: number;
}

/** What tunnels are made with. An MTU of 0 leaves it to the uplink's. */
export interface TunnelSettings {
  readonly vxlan_vni: number;
  readonly vxlan_port: number;
  readonly ipip_mtu: number;
  readonly vxlan_mtu: number;
  readonly vxlan_mtu6: number;
  /** Segments larger than a packet go through, and are cut behind. */
  readonly gso: boolean;
  /** Policies are for tunnels: absent, nobody enforces any. */
  readonly policed?: boolean;
  /** Absent: not asked for, or not possible. */
  readonly wireguard?: WireguardSettings;
  /** What goes by IPIP is encrypted. */
  readonly ipsec?: IpsecSettings;
  /** What pods send to pods of other nodes is encrypted, or is not sent. */
  readonly encryption_required?: boolean;
  /** Absent: not asked for, or not possible. */
  readonly srv6?: { readonly pools: Srv6Pools; readonly own: OwnSids };
}

export interface IpsecSettings {
  /** Absent: it is not known, and none comes up but by the key that VPP has of an earlier life. */
  readonly psk?: Secret;
  /** Counts how often it has become another one. */
  readonly psk_version: number;
}

/** Felix's. */
export const tunnel_settings_default: TunnelSettings = {
  vxlan_vni: 4096,
  vxlan_port: 4789,
  ipip_mtu: 0,
  vxlan_mtu: 0,
  vxlan_mtu6: 0,
  gso: true,
};

export type Tunnel = IpipTunnel | VxlanTunnel | WireguardInterface;

/** Headers around a packet: IP, and for VXLAN UDP (8) and VXLAN (8); what it carries is IP, without Ethernet. In bytes. */
const ip_header: Readonly<Record<Family, number>> = { 4: 20, 6: 40 };
const udp_and_vxlan_headers = 16;
/** UDP (8), type and receiver (8), counter (8), tag (16). */
const udp_and_wireguard_headers = 40;
/** With AES-GCM: SPI and sequence number (8), nonce (8), padding (3 at most), its length and the protocol (2), tag (16). */
const esp_headers = 37;

/** IPv6 needs that much on every link (RFC 8200). */
export const ip6_mtu_min = 1280;

/**
 * In bytes. What does not fit the uplink with its headers is lost without a word: there is no floor. Never odd: VPP damages segments of an odd length when it
 * cuts them (docs/vpp-notes.md).
 */
export function tunnelMtu(
  tunnel: Tunnel,
  own: Pick<OwnNode, 'mtu'>,
  settings: Pick<TunnelSettings, 'vxlan_mtu' | 'vxlan_mtu6'> & Partial<TunnelSettings>,
): number {
  const family = outerFamily(tunnel);
  const esp = tunnel.kind === 'ipip_tunnel' && tunnel.ike ? esp_headers : 0;
  const room = own.mtu - ip_header[family] - headers[tunnel.kind] - esp;
  const asked = askedMtu(tunnel, family, settings);
  const mtu = asked === 0 ? room : Math.min(asked, room);
  return mtu - (mtu % 2);
}

/** Behind the IP header. */
const headers: Readonly<Record<Tunnel['kind'], number>> = {
  ipip_tunnel: 0,
  vxlan_tunnel: udp_and_vxlan_headers,
  wireguard_interface: udp_and_wireguard_headers,
};

/** Of what is around a packet. */
export function outerFamily(tunnel: Tunnel): Family {
  return familyOf(tunnel.src);
}

function askedMtu(
  { kind }: Tunnel,
  family: Family,
  settings: Pick<TunnelSettings, 'vxlan_mtu' | 'vxlan_mtu6'> & Partial<TunnelSettings>,
): number {
  if (kind === 'wireguard_interface') return settings.wireguard?.mtu ?? 0;
  if (kind === 'ipip_tunnel') return settings.ipip_mtu ?? 0;
  return family === 4 ? settings.vxlan_mtu : settings.vxlan_mtu6;
}

/** The tunnel with all that it needs before a packet goes through it. */
export function tunnelObjects(tunnel: Tunnel, own: OwnNode, settings: TunnelSettings): VppObject[] {
  const { tag } = tunnel;
  const flag = (name: InterfaceSwitch): VppObject => ({ kind: 'interface_flag', interface: tag, flag: name });
  return [
    tunnel,
    { kind: 'unnumbered', interface: tag, of: own.main_uplink },
    ...(settings.gso ? [flag('gso_feature')] : []),
    // Services with back ends on other nodes are translated back on it.
    flag('cnat_feature'),
    { kind: 'interface_mtu', interface: tag, mtu: tunnelMtu(tunnel, own, settings) },
    // Where nothing is said of what passes the node, it passes. What is known of it already counts from the first packet on.
    ...(settings.policed ? [{ kind: 'default_verdict', interface: tag, verdict: 'allow' } as const] : []),
    ...(tunnel.kind === 'ipip_tunnel' && tunnel.ike ? ikeObjects(tunnel, own, settings) : [flag('admin_up')]),
  ];
}

/** Of two nodes the one with the higher address begins. Both are canonical, and of one family. */
export const beginsIke = ({ src, dst }: Pick<IpipTunnel, 'src' | 'dst'>): boolean =>
  bitsOf(src).bytes > bitsOf(dst).bytes;

/** By which IKE brings the tunnel up. */
function ikeObjects({ tag, src, dst }: IpipTunnel, own: OwnNode, settings: TunnelSettings): VppObject[] {
  const name = ikeProfileName(dst);
  const psk = settings.ipsec?.psk;
  const begins = beginsIke({ src, dst });
  const profile = {
    kind: 'ike_profile',
    name,
    interface: tag,
    src,
    dst,
    ...(psk && { psk }),
    ...(begins && { begins_by: own.main_uplink }),
  } as const;
  return begins ? [profile, { kind: 'ike_initiation', name, interface: tag }] : [profile];
}

/** Why there is no such route. */
export type RouteFault =
  | 'no_prefix'
  | 'no_next_hop'
  | 'default_route'
  | 'not_unicast'
  | 'covers_node'
  | 'covers_next_hop'
  | 'own_next_hop'
  | 'other_family'
  | 'no_own_address'
  | 'no_own_subnet'
  | 'holds_node'
  | 'through_tunnel'
  | 'tunnel_refused'
  | 'not_encrypted';

/**
 * For a person: what is wrong with it, and what to do. `with_it`: the prefix by whose tunnel its next hop would be reached, or the node that
 * is in its prefix.
 */
export function routeFaultText(fault: RouteFault, next_hop: string, with_it?: string): string {
  switch (fault) {
    case 'no_prefix':
      return `(by ${next_hop}) is no prefix: see who announces it`;
    case 'no_next_hop':
      return `has the next hop ${next_hop}, to which VPP cannot forward: give that node, or router, a global address`;
    case 'default_route':
      return `by ${next_hop} is a default route, which is the host's: filter it out`;
    case 'not_unicast':
      return `by ${next_hop} is no unicast prefix: filter it out`;
    case 'covers_node':
      return `by ${next_hop} has this node's own address in it: filter it out, or keep pools apart from nodes`;
    case 'covers_next_hop':
      return `by ${next_hop} has its next hop in it, and would lead to itself: filter it out, or keep pools apart from nodes`;
    case 'own_next_hop':
      return `has the next hop ${next_hop}, which is this node's own address: see which node has the same one`;
    case 'other_family':
      return `has the next hop ${next_hop} of the other address family, which IPIP alone carries: give that node an address of this family`;
    case 'no_own_address':
      return `needs a tunnel to ${next_hop}, and this node has no address of that family: give the main uplink one`;
    case 'no_own_subnet':
      return `by ${next_hop} depends on the subnet of this node (CrossSubnet), which has no address of that family: give the main uplink one`;
    case 'holds_node':
      return `would take what is for ${with_it ?? 'another node'}, a node, by a tunnel to ${next_hop}: keep pools apart from nodes, or filter it out`;
    case 'through_tunnel':
      return `needs a tunnel to ${next_hop}, to which ${with_it === undefined ? 'another route' : `route ${with_it}`} leads by a tunnel itself: keep pools apart from nodes, or filter one of the two out`;
    case 'not_encrypted':
      return `by ${next_hop} is dropped: encryption is required (CALICOVPP_ENCRYPTION), and it could only go in clear; set wireguardEnabled (for IPv6 wireguardEnabledV6) of FelixConfiguration, and see that its node publishes a WireGuard key, or switch IPsec on (ipsecEnabled)`;
    case 'tunnel_refused':
      return `goes without the tunnel to ${next_hop}, which VPP does not make, or does not set up: see why among what is refused`;
  }
}

export type TunnelKind = 'ipip' | 'vxlan' | 'wireguard';

/** How its packets leave: by the way to the next hop itself, by a tunnel to it, or not at all. */
export type Way = 'flat' | TunnelKind | RouteFault;

/** A node's own view, as often as routes are looked at with it. */
export class Outlook {
  readonly #addresses: readonly Bits[];
  readonly #subnets: readonly Bits[];

  constructor(
    readonly own: OwnNode,
    readonly settings: TunnelSettings,
  ) {
    const bits = ({ ip4, ip6 }: OwnNode['node']): Bits[] =>
      [ip4, ip6].flatMap((text) => (text ? bitsOf(text) : []));
    this.#addresses = bits(own.node);
    this.#subnets = bits(own.subnets);
  }

  /** Whether every route goes the same way, but for the numbers of its tunnel. */
  seesRoutesAs(other: Outlook): boolean {
    const seen = ({ own: { node, subnets }, wireguard, settings: { encryption_required } }: Outlook) => [
      node,
      subnets,
      wireguard?.families,
      encryption_required,
    ];
    return isDeepStrictEqual(seen(this), seen(other));
  }

  /** What WireGuard can be done with; undefined: it is not done. */
  get wireguard(): WireguardSettings | undefined {
    return this.own.node.ip4 === undefined && this.own.node.ip6 === undefined
      ? undefined
      : this.settings.wireguard;
  }

  /** What SRv6 can be done with; undefined: it is not done. What has to be encrypted does not go by it. */
  get srv6(): Srv6Settings | undefined {
    const { srv6 } = this.settings;
    const source = this.own.node.ip6;
    if (srv6 === undefined || source === undefined || this.encrypts_only) return undefined;
    return { ...srv6.pools, source, own_sids: srv6.own.sids.map(({ sid }) => sid) };
  }

  /** Of the ends of WireGuard. It carries both. */
  get wireguard_family(): Family {
    return endFamily(this.own.node);
  }

  wireguardInterface({ port, keys }: WireguardSettings): WireguardInterface {
    const src = this.own.node[`ip${this.wireguard_family}`]!;
    return { kind: 'wireguard_interface', tag: wireguard_tag, src, port, ...keys };
  }

  /** Whether every tunnel is made in the same way. */
  makesTunnelsAs({ own, settings }: Outlook): boolean {
    return isDeepStrictEqual([this.own, this.settings], [own, settings]);
  }

  /** Nothing goes in clear to pods of other nodes. */
  get encrypts_only(): boolean {
    return this.settings.encryption_required === true;
  }

  /**
   * The way of a route. `bits` and `hop`: of its prefix and its next hop, which are canonical. `encrypted`: that one is a peer for it. `was_pool`: it
   * would be of a pool that is gone.
   */
  way(bits: Bits, hop: Bits, pool: IpPool | undefined, encrypted = false, was_pool = false): Way {
    const fault = this.#guard(bits, hop);
    if (fault !== undefined) return fault;
    const is_of_pods = pool !== undefined || (was_pool && this.encrypts_only);
    const asked = pool === undefined ? 'flat' : this.#encapsulation(pool, hop);
    const by_ipsec = this.settings.ipsec !== undefined;
    if (is_of_pods && encrypted && !(by_ipsec && asked === 'ipip')) return 'wireguard';
    const must_be = is_of_pods && this.encrypts_only;
    if (must_be && !(by_ipsec && this.#address(hop) !== undefined)) return 'not_encrypted';
    const kind = must_be ? 'ipip' : asked;
    if (kind === 'no_own_subnet') return kind;
    if (hop.bytes.length !== bits.bytes.length && kind !== 'ipip') return 'other_family';
    return kind === 'flat' || this.#address(hop) !== undefined ? kind : 'no_own_address';
  }

  /** What goes by IPIP in this pool is encrypted. */
  isForIpsec({ ipip }: IpPool): boolean {
    return this.settings.ipsec !== undefined && ipip !== 'Never';
  }

  /** Whether routers are between the node and this next hop. */
  isFar(hop: Bits): boolean {
    return !this.#subnets.some((subnet) => holds(subnet, hop));
  }

  /** The tunnel of this kind to a node; undefined where it has no address to come from. */
  tunnel(kind: TunnelKind, dst: string): Tunnel | undefined {
    if (kind === 'wireguard') return this.wireguard && this.wireguardInterface(this.wireguard);
    const src = this.own.node[`ip${familyOf(dst)}`];
    if (src === undefined) return undefined;
    const ike = this.settings.ipsec !== undefined;
    if (kind === 'ipip') return { kind: 'ipip_tunnel', tag: ipipTag(dst), src, dst, ...(ike && { ike }) };
    const { vxlan_vni: vni, vxlan_port: port } = this.settings;
    const ends = { src, dst, vni, port };
    return { kind: 'vxlan_tunnel', tag: vxlanTag(ends), ...ends };
  }

  /** Whether a tunnel of this kind to the same node would have the same tag. */
  names(tunnel: Tunnel): boolean {
    const { vxlan_vni, vxlan_port } = this.settings;
    return tunnel.kind !== 'vxlan_tunnel' || (tunnel.vni === vxlan_vni && tunnel.port === vxlan_port);
  }

  #address(hop: Bits): string | undefined {
    return this.own.node[hop.bytes.length === 4 ? 'ip4' : 'ip6'];
  }

  #guard(bits: Bits, hop: Bits): RouteFault | undefined {
    if (bits.length === 0) return 'default_route';
    if (!isGlobalUnicast(bits)) return 'not_unicast';
    if (!isGlobalUnicast(hop)) return 'no_next_hop';
    for (const own of this.#addresses) {
      if (own.bytes === hop.bytes) return 'own_next_hop';
      if (holds(bits, own)) return 'covers_node';
    }
    if (holds(bits, hop)) return 'covers_next_hop';
    return undefined;
  }

  #encapsulation({ ipip, vxlan }: IpPool, hop: Bits): 'flat' | 'ipip' | 'vxlan' | 'no_own_subnet' {
    const kind = ipip === 'Never' ? 'vxlan' : 'ipip';
    const mode = ipip === 'Never' ? vxlan : ipip;
    if (mode === 'Never') return 'flat';
    if (mode === 'Always') return kind;
    const subnet = this.#subnets.find(({ bytes }) => bytes.length === hop.bytes.length);
    if (subnet === undefined) return 'no_own_subnet';
    return holds(subnet, hop) ? 'flat' : kind;
  }
}

/** Each once, shared by all routes that leave so; the list is, too, where it was seen lately. */
export type Paths = readonly Path[];

export const drop_paths: Paths = [{ via: 'drop' }];
/** By SRv6. */
export const steered_paths: Paths = [{ via: 'lookup', table_id: srv6_table }];

export function pathBy(next_hop: string, tunnel: Tunnel | undefined): Path {
  if (tunnel === undefined) return { via: 'next_hop', next_hop };
  return { via: 'interface', interface: tunnel.tag, next_hop };
}

export function routeTo(prefix: string, paths: Paths, table_id = default_table): Route {
  return { kind: 'route', source: 'connectivity', table_id, prefix, paths };
}

/**
 * What pods send to that node itself goes by the tunnel, too: their addresses are known there, and nowhere between. Not in the default
 * table, where the tunnel's own packets are routed.
 */
export function nodeRoute(address: string, paths: Paths): Route {
  return { kind: 'route', source: 'connectivity', table_id: pods_table, prefix: hostPrefix(address), paths };
}
