/**
 * What VPP holds for the node itself: the global tables, each uplink as Linux had it, and the tap that gives the host its
 * network back. Pure: from the captured state of the devices and the configuration to VPP objects.
 */

import type { RepeatedAdvertisement } from '../ip/advertisement.js';
import { isLinkLocal, networkOf, splitPrefix } from '../ip/prefix.js';
import { addressBits, type Family, familyOf } from '../ip/text.js';
import type { Address, Neighbour as LinuxNeighbour, Route as LinuxRoute } from '../linux/network.js';
import type { InterfaceFlag, InterfaceSwitch, InterfaceTag, RxMode } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import type { RedirectMatch } from '../objects/redirect.js';
import type { Path, Route } from '../objects/routing.js';
import {
  type CnatMake,
  type NeverNatted,
  newUplinkEntry,
  type SourceNat,
  sourceNatOf,
  type UplinkEntry,
} from './source-nat.js';
import {
  allOf,
  default_table,
  everything,
  hostPrefix,
  hostTapTable,
  physicalNetworkTables,
  pods_table,
  punt_table,
  table,
} from './tables.js';

/** `IFA_F_*`. */
const temporary = 0x01;
const duplicate = 0x08;
const deprecated = 0x20;
/** NTF_PROXY. */
const answered_for = 0x08;
/** RT_TABLE_MAIN. */
const linux_main_table = 254;
/** VPP's side of every host tap; the last byte is the uplink's index. */
const tap_mac_prefix = '02:ca:11:c0:fd';
/** The L3 MTU of taps inside VPP: Linux's own MTU is what limits. */
export const tap_l3_mtu = 9216;

/** A device as it was found, with what was asked for it. */
export interface Uplink {
  readonly name: string;
  readonly index: number;
  readonly is_main: boolean;
  readonly mac: string;
  readonly mtu: number;
  /** All addresses that Linux had on it, in kernel order. */
  readonly addresses: readonly Address[];
  /** The routes of Linux through it, of all tables; VPP gets those of the main table. */
  readonly routes: readonly LinuxRoute[];
  /** Its ifindex in Linux: which next hops of `routes` are meant. */
  readonly link: number;
  /** Addresses of the host that no uplink has (of its loopback, of dummies), without length; of the main uplink alone. */
  readonly host_addresses: readonly string[];
  /** Neighbours that somebody has set in Linux, and those that Linux answers for. */
  readonly neighbours: readonly LinuxNeighbour[];
  readonly physical_network: string;
  readonly rx_mode: RxMode;
  /** The VPP interface itself, as its driver wants it. */
  readonly device: Extract<VppObject, { kind: 'af_packet' | 'af_xdp' | 'existing_interface' }>;
}

export interface NodeInputs {
  readonly uplinks: readonly Uplink[];
  /** Put on VPP's side of every host tap, e.g. `169.254.0.1/32`. */
  readonly tap_address: string;
  readonly tap: { readonly rx_ring_size: number; readonly tx_ring_size: number; readonly rx_mode: RxMode };
  /** The network namespace of the host. */
  readonly host_namespace: string;
  readonly gso: boolean;
  readonly neighbours: Readonly<
    Record<'ip4' | 'ip6', { readonly max_number: number; readonly max_age_s: number }>
  >;
  readonly service_prefixes: readonly string[];
  readonly cnat: CnatMake;
  /** Where what pods and the outside send keeps its source. */
  readonly not_natted?: NeverNatted;
  /** The entry for uplinks that this VPP has, or is to have. */
  readonly uplink_entry?: UplinkEntry | undefined;
  /** One default route per family through the main uplink, beside those that Linux had. */
  readonly default_gateways: readonly string[];
  readonly redirects: readonly RedirectMatch[];
  /** IPv4 packets with options do not go to the host, whom no policy of VPP's would keep them from. */
  readonly drop_ip_options?: boolean;
  /** What routers say, by the name of the uplink that they are behind; to be told again on its tap. Absent: none has been heard. */
  readonly repeated?: ReadonlyMap<string, RepeatedAdvertisement>;
  /** Gives an IPv6 /128 of an uplink to VPP as /64: VPP does not learn the on-link prefix from router advertisements. */
  readonly uplink_128_to_64: boolean;
}

/** See SnatPolicy. */
const snat_keeper: InterfaceTag = 'node-snat';

export const uplinkTag = (name: string): InterfaceTag => `main-${name}`;
export const hostTapTag = (name: string): InterfaceTag => `host-${name}`;
export const hostTapMac = (index: number): string =>
  `${tap_mac_prefix}:${index.toString(16).padStart(2, '0')}`;

/**
 * All objects of the node. `taps_up` comes last in a take-over: no packet of the host leaves before Linux's side is
 * settled (a DHCPv6 client would otherwise bind to the wrong link-local address).
 */
export function desiredNode(inputs: NodeInputs, taps_up: boolean): VppObject[] {
  const networks = [...new Set(inputs.uplinks.map((uplink) => uplink.physical_network))].filter(
    (name) => name !== '',
  );
  const tableOf = ({ physical_network }: Uplink): number => {
    const order = networks.indexOf(physical_network);
    return order === -1 ? default_table : physicalNetworkTables(order).main;
  };
  return [
    ...globals(inputs),
    ...networks.flatMap((name, order) => physicalNetwork(name, order)),
    ...inputs.uplinks.flatMap((uplink) => {
      const main_table = tableOf(uplink);
      return [...uplinkObjects(uplink, main_table, inputs), ...hostTap(uplink, main_table, inputs, taps_up)];
    }),
    ...uplinkRoutes(inputs, tableOf),
    ...puntRoutes(inputs.uplinks),
    ...redirectTables(inputs),
  ];
}

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

type SnatInputs = Pick<NodeInputs, 'uplinks' | 'uplink_128_to_64' | 'cnat' | 'uplink_entry'>;

/** How this node does source NAT. It follows the node's addresses. */
export function nodeSourceNat(inputs: SnatInputs): SourceNat {
  return sourceNatOf({ ...snatNode(inputs), entry: inputs.uplink_entry });
}

/** The entry for its uplinks that a new VPP of this node gets. */
export function nodeUplinkEntry(inputs: SnatInputs): UplinkEntry | undefined {
  return newUplinkEntry(snatNode(inputs));
}

function snatNode(inputs: SnatInputs) {
  const { cnat, uplinks } = inputs;
  return { cnat, uplinks: uplinks.length, ...nodeAddresses(inputs) };
}

function nodeAddresses(inputs: SnatInputs): { readonly ip4?: string; readonly ip6?: string } {
  const address = (family: Family) => {
    const prefix = nodeAddress(inputs, family);
    return prefix === undefined ? undefined : splitPrefix(prefix).address;
  };
  const [ip4, ip6] = [address(4), address(6)];
  return { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) };
}

/** All addresses of this node's uplinks, as prefixes. */
export function ownAddresses({ uplinks }: Pick<NodeInputs, 'uplinks'>): readonly string[] {
  return uplinks.flatMap((uplink) =>
    usableAddresses(uplink).map(({ prefix }) => hostPrefix(splitPrefix(prefix).address)),
  );
}

/** Neighbours are solicited by groups and link-local addresses: under the node's address none would answer. */
const never_natted = ['fe80::/10', 'ff00::/8'];

function sourceNat(inputs: NodeInputs): VppObject[] {
  const { uplink_entry, not_natted, service_prefixes } = inputs;
  const addresses = nodeAddresses(inputs);
  const { policy, uplinks } = nodeSourceNat(inputs);
  const own = Object.values(addresses).map(hostPrefix);
  const pods = new Set([
    ...own,
    ...(addresses.ip6 === undefined ? [] : never_natted),
    ...service_prefixes.map(networkOf),
    ...(not_natted?.pods ?? []),
  ]);
  // One that VPP has keeps its address where it cannot be changed.
  const entry = uplink_entry?.ip4 === undefined ? uplink_entry : addresses;
  return [
    ...(entry === undefined ? [] : [{ kind: 'snat_uplinks', ...entry } as const]),
    { kind: 'snat_addresses', ...addresses, ...(entry !== undefined && { beside: true }) },
    { kind: 'loopback', tag: snat_keeper },
    { kind: 'snat_policy', policy, keeper: snat_keeper },
    ...[...pods].map((prefix): VppObject => ({ kind: 'snat_exclude', prefix })),
    ...(not_natted?.uplinks ?? [])
      .filter((prefix) => uplinks.includes(familyOf(prefix)))
      .map((prefix): VppObject => ({ kind: 'snat_exclude', prefix, of: 'uplinks' })),
  ];
}

/** In which what comes by an uplink of the default table may get the node's address: never before VPP knows where it does not. */
function uplinkNatFlags(inputs: NodeInputs): InterfaceSwitch[] {
  const known = new Set((inputs.not_natted?.uplinks ?? []).map(familyOf));
  return nodeSourceNat(inputs).uplinks.flatMap((family) => (known.has(family) ? nat_flags[family] : []));
}

const nat_flags: Readonly<Record<Family, InterfaceSwitch>> = {
  4: 'snat_include_ip4',
  6: 'snat_include_ip6',
};

function globals(inputs: NodeInputs): VppObject[] {
  const both: readonly Family[] = [4, 6];
  return [
    ...sourceNat(inputs),
    ...(inputs.drop_ip_options === true ? [{ kind: 'punt_guard' } as const] : []),
    ...both.flatMap((family): VppObject[] => [
      table(family, punt_table, `punt-table-ip${family}`),
      table(family, pods_table, `calico-pods-ip${family}`),
      ...allOf(family).map((prefix) =>
        route(pods_table, prefix, [{ via: 'lookup', table_id: default_table }]),
      ),
      { kind: 'neighbour_limits', family, ...inputs.neighbours[`ip${family}`] },
      { kind: 'punt_redirect', family, table_id: punt_table },
      { kind: 'punt_l4', family, protocol: 'tcp' },
      { kind: 'punt_l4', family, protocol: 'udp' },
    ]),
  ];
}

function physicalNetwork(name: string, order: number): VppObject[] {
  const { main, pods } = physicalNetworkTables(order);
  return ([4, 6] as const).flatMap((family) => [
    table(family, main, `physical-net-${name}-ip${family}`),
    table(family, pods, `calico-pods-${name}-ip${family}`),
    ...allOf(family).map((prefix) => route(pods, prefix, [{ via: 'lookup', table_id: main }])),
  ]);
}

function uplinkObjects(uplink: Uplink, main_table: number, inputs: NodeInputs): VppObject[] {
  const tag = uplinkTag(uplink.name);
  const link_local = linkLocalOf(uplink);
  const { own, foreign } = splitOverlapping(vppAddresses(uplink, inputs.uplink_128_to_64));
  const virtual = [
    ...foreign.map((prefix) => splitPrefix(prefix).address),
    ...addressesBehind(uplink, inputs),
  ];
  return [
    uplink.device,
    { kind: 'interface_mtu', interface: tag, mtu: uplink.mtu },
    { kind: 'interface_rx_mode', interface: tag, mode: uplink.rx_mode },
    ...(inputs.gso ? [flag(tag, 'gso_feature')] : []),
    flag(tag, 'ip6_enabled'),
    flag(tag, 'ra_suppressed'),
    ...(main_table === default_table ? uplinkNatFlags(inputs).map((name) => flag(tag, name)) : []),
    flag(tag, 'cnat_feature'),
    flag(tag, 'admin_up'),
    ...(main_table === default_table
      ? []
      : ([4, 6] as const).map(
          (family): VppObject => ({ kind: 'interface_table', interface: tag, family, table_id: main_table }),
        )),
    ...own.map((prefix): VppObject => ({ kind: 'interface_address', interface: tag, prefix })),
    ...(link_local === undefined
      ? []
      : [{ kind: 'link_local', interface: tag, address: link_local } as const]),
    ...[...new Set(virtual)].flatMap((address) => virtualAddress(address, uplink, main_table)),
    ...(virtual.some((address) => familyOf(address) === 4) ? [flag(tag, 'proxy_arp')] : []),
    ...uplink.neighbours.flatMap(({ address, mac }): VppObject[] =>
      mac === undefined ? [] : [{ kind: 'neighbour', interface: tag, address, mac }],
    ),
  ];
}

/**
 * What the host has elsewhere, or answers for. The services have their own way in VPP, whatever device of the host holds their addresses
 * (kube-ipvs0).
 */
function addressesBehind({ host_addresses, neighbours }: Uplink, { service_prefixes }: NodeInputs): string[] {
  const services = service_prefixes.map(networkOf);
  const isService = (address: string): boolean =>
    services.some((prefix) => familyOf(prefix) === familyOf(address) && contains(prefix, address));
  const proxies = neighbours.filter(({ flags }) => flags & answered_for).map(({ address }) => address);
  return [...host_addresses.filter((address) => !isService(address)), ...proxies];
}

function contains(prefix: string, address: string): boolean {
  return networkOf(`${address}/${splitPrefix(prefix).length}`) === prefix;
}

/**
 * An IPv4 address inside another one's subnet (a keepalived or kube-vip /32), which VPP refuses to put on the interface, or one that the host
 * has elsewhere: it is answered by proxy ARP and handed to the host.
 */
function virtualAddress(address: string, uplink: Uplink, main_table: number): VppObject[] {
  const deliver = route(main_table, hostPrefix(address), [toHost(uplink, address)]);
  if (familyOf(address) === 6) return [deliver];
  return [deliver, { kind: 'proxy_arp_range', table_id: main_table, low: address, high: address }];
}

/**
 * The routes of Linux, the best of each prefix over all uplinks of a network; connected ones come with the addresses. A
 * default gateway that is configured stands in for a default route that the main uplink does not have.
 */
function uplinkRoutes(inputs: NodeInputs, tableOf: (uplink: Uplink) => number): Route[] {
  const best = new Map<string, { readonly metric: number; readonly route: Route }>();
  const offer = (table_id: number, prefix: string, metric: number, paths: readonly Path[]): void => {
    const known = best.get(`${table_id}/${prefix}`);
    if (paths.length > 0 && (known === undefined || metric < known.metric))
      best.set(`${table_id}/${prefix}`, { metric, route: route(table_id, prefix, paths) });
  };
  for (const uplink of inputs.uplinks) {
    const table_id = tableOf(uplink);
    // A multipath route may lead through several of them.
    const tags = new Map(
      inputs.uplinks
        .filter((other) => tableOf(other) === table_id)
        .map((other) => [other.link, uplinkTag(other.name)]),
    );
    const connected = connectedPrefixes(uplink, inputs.uplink_128_to_64);
    const speaker = speakerOf(inputs.repeated?.get(uplink.name));
    for (const { prefix, metric, next_hops } of uplink.routes.filter(isForwarded)) {
      if (isLinkLocal(prefix) || connected.has(prefix)) continue;
      const paths = next_hops.flatMap((hop): Path[] => {
        const tag = hop.oif === undefined ? undefined : tags.get(hop.oif);
        return tag === undefined
          ? []
          : [{ via: 'interface', interface: tag, next_hop: hop.gateway ?? onLink(prefix) }];
      });
      // Of equal ones that of a router which lives: the host keeps that of another one until its lifetime ends.
      const is_speakers = next_hops.some(({ gateway }) => gateway !== undefined && gateway === speaker);
      offer(table_id, prefix, is_speakers ? metric - 0.5 : metric, paths);
    }
    if (!uplink.is_main) continue;
    for (const gateway of inputs.default_gateways) {
      const prefix = everything(familyOf(gateway));
      if (!uplink.routes.some((known) => isForwarded(known) && known.prefix === prefix))
        offer(table_id, prefix, 0, [
          { via: 'interface', interface: uplinkTag(uplink.name), next_hop: gateway },
        ]);
    }
  }
  return [...best.values()].map(({ route }) => route);
}

/** The router in whose name VPP speaks, while it is a default router. */
function speakerOf(repeated: RepeatedAdvertisement | undefined): string | undefined {
  return repeated === undefined || repeated.lifetime_s === 0 ? undefined : repeated.router;
}

/** Routes of other tables, those that drop or reject, and those that encapsulate are for Linux alone. */
function isForwarded(route: LinuxRoute): boolean {
  const { table, type, next_hops } = route;
  return (
    table === linux_main_table && type === 'unicast' && next_hops.every((hop) => hop.encap === undefined)
  );
}

/** Prefixes whose routes come with the addresses, in Linux and in VPP. */
function connectedPrefixes(uplink: Uplink, to_64: boolean): ReadonlySet<string> {
  return new Set([...vppAddresses(uplink, false), ...vppAddresses(uplink, to_64)].map(networkOf));
}

/**
 * Next hop of a route without gateway: "whoever has the address". Of a single host VPP would take its own address as well,
 * but not as attached: it would refuse that host's ARP requests and answers.
 */
function onLink(prefix: string): string {
  return familyOf(prefix) === 4 ? '0.0.0.0' : '::';
}

/** VPP's side of the tap that has the uplink's name and MAC in Linux. */
function hostTap(uplink: Uplink, main_table: number, inputs: NodeInputs, up: boolean): VppObject[] {
  const tag = hostTapTag(uplink.name);
  const uplink_tag = uplinkTag(uplink.name);
  const own_table = hostTapTable(uplink.index);
  return [
    {
      kind: 'tap',
      tag,
      host_namespace: inputs.host_namespace,
      host_if_name: uplink.name,
      host_mtu: uplink.mtu,
      host_mac: uplink.mac,
      mac: hostTapMac(uplink.index),
      rx_queues: 1,
      tx_queues: 1,
      rx_ring_size: inputs.tap.rx_ring_size,
      tx_ring_size: inputs.tap.tx_ring_size,
      type: 'tap',
      gso: inputs.gso,
      persistent: false,
    },
    table(4, own_table, `host-tap-${uplink.name}-ip4`),
    table(6, own_table, `host-tap-${uplink.name}-ip6`),
    ...([4, 6] as const).flatMap((family): VppObject[] => [
      { kind: 'interface_table', interface: tag, family, table_id: own_table },
      ...allOf(family).map((prefix) => route(own_table, prefix, [{ via: 'lookup', table_id: main_table }])),
    ]),
    // The host's DHCP broadcasts leave by this uplink: VPP takes the all-ones IPv6 next hop for the broadcast adjacency.
    route(own_table, '255.255.255.255/32', [
      { via: 'interface', interface: uplink_tag, next_hop: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' },
    ]),
    // DHCPv6 of the host. VPP keeps the other link-local groups of a table for itself, whatever is added.
    {
      kind: 'mroute',
      table_id: own_table,
      group: 'ff02::1:2/128',
      accept_all_interfaces: false,
      paths: [
        { interface: uplink_tag, accept: true, forward: true },
        { interface: tag, accept: true, forward: false },
      ],
    },
    { kind: 'interface_address', interface: tag, prefix: inputs.tap_address },
    { kind: 'interface_mtu', interface: tag, mtu: tap_l3_mtu, mtu6: uplink.mtu },
    { kind: 'interface_rx_mode', interface: tag, mode: inputs.tap.rx_mode },
    { kind: 'rx_placement', interface: tag, queue_id: 0, worker_id: 0 },
    flag(tag, 'ip6_enabled'),
    ...advertising(tag, inputs.repeated?.get(uplink.name)),
    flag(tag, 'cnat_feature'),
    flag(tag, 'snat_pod'),
    flag(tag, 'snat_host'),
    flag(tag, 'proxy_arp'),
    ...(inputs.gso ? [flag(tag, 'gso_feature')] : []),
    ...(up ? [flag(tag, 'admin_up')] : []),
    { kind: 'proxy_arp_range', table_id: own_table, low: '0.0.0.0', high: '255.255.255.255' },
    { kind: 'ttl_fixup', interface: tag, towards: uplink_tag },
    ...deliveredAddresses(uplink).flatMap((address): VppObject[] => [
      route(own_table, hostPrefix(address), [toHost(uplink, address)]),
      { kind: 'neighbour', interface: tag, address, mac: uplink.mac },
    ]),
    ...addressesBehind(uplink, inputs).map((address): VppObject => {
      return { kind: 'neighbour', interface: tag, address, mac: uplink.mac };
    }),
  ];
}

/**
 * On the tap the router's advertisements come from VPP, which has the router's link-local address there: the host builds what it would
 * have built, and all that it sends goes through VPP.
 */
function advertising(tag: InterfaceTag, repeated: RepeatedAdvertisement | undefined): VppObject[] {
  if (repeated === undefined) return [flag(tag, 'ra_suppressed')];
  const { router, prefixes, lifetime_s, managed, other } = repeated;
  return [
    { kind: 'link_local', interface: tag, address: router },
    ...prefixes.map((prefix): VppObject => ({ kind: 'ra_prefix', interface: tag, ...prefix })),
    { kind: 'ra_config', interface: tag, lifetime_s, managed, other },
  ];
}

/** The host's own addresses, its link-local one among them. */
function deliveredAddresses(uplink: Uplink): string[] {
  const link_local = linkLocalOf(uplink);
  const addresses = vppAddresses(uplink, false).map((prefix) => splitPrefix(prefix).address);
  return [...new Set([...addresses, ...(link_local ? [link_local] : [])])];
}

/** Packets for the node that VPP punts, its subnets' broadcasts among them, go to the host. */
function puntRoutes(uplinks: readonly Uplink[]): Route[] {
  const routes = new Map<string, Route>();
  const offer = (prefix: string, uplink: Uplink, address: string): void => {
    if (!routes.has(prefix)) routes.set(prefix, route(punt_table, prefix, [toHost(uplink, address)]));
  };
  for (const uplink of uplinks)
    for (const address of deliveredAddresses(uplink)) offer(hostPrefix(address), uplink, address);
  for (const uplink of uplinks)
    for (const prefix of vppAddresses(uplink, false))
      offer(networkOf(prefix), uplink, splitPrefix(prefix).address);
  return [...routes.values()];
}

/** What `redirectToHostRules` asks for: a table for each family that has rules, and the rules. */
export function redirectTables(inputs: NodeInputs): VppObject[] {
  const main = inputs.uplinks.find((uplink) => uplink.is_main);
  return ([4, 6] as const).flatMap((family): VppObject[] => {
    const rules = new Map(
      inputs.redirects
        .filter((rule) => familyOf(rule.address) === family)
        .map((rule) => [`${rule.protocol}/${rule.address}/${rule.port}`, rule]),
    );
    const own = nodeAddress(inputs, family);
    if (main === undefined || own === undefined || rules.size === 0) return [];
    const { address } = splitPrefix(own);
    return [
      { kind: 'redirect_table', family },
      ...[...rules.values()].map(
        (rule): VppObject => ({
          kind: 'redirect_rule',
          ...rule,
          interface: hostTapTag(main.name),
          next_hop: address,
        }),
      ),
    ];
  });
}

function toHost(uplink: Uplink, address: string): Path {
  return { via: 'interface', interface: hostTapTag(uplink.name), next_hop: address };
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

/** 224.0.0.0/4 and ff00::/8. */
function isGroup(prefix: string): boolean {
  return /^(22[4-9]\.|23\d\.|ff)/.test(prefix);
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
function splitOverlapping(prefixes: readonly string[]): { own: string[]; foreign: string[] } {
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

function route(table_id: number, prefix: string, paths: readonly Path[]): Route {
  return { kind: 'route', source: 'node', table_id, prefix, paths };
}

function flag(tag: InterfaceTag, name: InterfaceSwitch): InterfaceFlag {
  return { kind: 'interface_flag', interface: tag, flag: name };
}
