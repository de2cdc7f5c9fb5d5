/**
 * What VPP holds for the node itself: the global tables, each uplink as Linux had it, and the tap that gives the host its
 * network back. Pure: from the captured state of the devices and the configuration to VPP objects.
 */
import type { RepeatedAdvertisement } from '../ip/advertisement.js';
import { networkOf, splitPrefix } from '../ip/prefix.js';
import { type Family, familyOf } from '../ip/text.js';
import type { InterfaceFlag, InterfaceSwitch, InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';
import { networkObjects, type Underlay } from './networks.js';
import { hostTapMac, hostTapTag, type NodeInputs, type Uplink, uplinkTag } from './node-inputs.js';
import { newUplinkEntry, type SourceNat, sourceNatOf, type UplinkEntry } from './source-nat.js';
import {
  allOf,
  default_table,
  hostPrefix,
  hostTapTable,
  ipsec_table,
  physicalNetworkTables,
  pods_table,
  punt_table,
  table,
} from './tables.js';
import { contains, linkLocalOf, nodeAddress, splitOverlapping, vppAddresses } from './uplink-addresses.js';
import { route, uplinkRoutes } from './uplink-routes.js';

const everybody = '255.255.255.255/32';
/** NTF_PROXY. */
const answered_for = 0x08;
/** The L3 MTU of taps inside VPP: Linux's own MTU is what limits. */
export const tap_l3_mtu = 9216;

/** See SnatPolicy. */
const snat_keeper: InterfaceTag = 'node-snat';

/**
 * All objects of the node. `taps_up` comes last in a take-over: no packet of the host leaves before Linux's side is
 * settled (a DHCPv6 client would otherwise bind to the wrong link-local address). `uplinks_up` comes when others have theirs on them, and with it what
 * leads by them: VPP asks for a next hop when its route comes, and never by a link that is down.
 */
export function desiredNode(inputs: NodeInputs, taps_up: boolean, uplinks_up = true): VppObject[] {
  const networks = physicalNetworks(inputs.uplinks);
  const tableOf = ({ physical_network }: Uplink): number => mainTableOf(physical_network, networks);
  return [
    ...globals(inputs),
    ...(inputs.network_vnis ?? []).flatMap(networkObjects),
    ...networks.flatMap((name, order) => physicalNetwork(name, order)),
    ...inputs.uplinks.flatMap((uplink) => {
      const main_table = tableOf(uplink);
      return [
        ...uplinkObjects(uplink, main_table, inputs, uplinks_up),
        ...hostTap(uplink, main_table, inputs, taps_up),
      ];
    }),
    ...(uplinks_up ? uplinkRoutes(inputs, tableOf) : []),
    ...puntRoutes(inputs.uplinks),
    ...redirectTables(inputs),
  ];
}

/** The named ones, in the order of the uplinks. */
function physicalNetworks(uplinks: readonly Uplink[]): readonly string[] {
  return [...new Set(uplinks.map((uplink) => uplink.physical_network))].filter((name) => name !== '');
}

function mainTableOf(physical_network: string, networks: readonly string[]): number {
  const order = networks.indexOf(physical_network);
  return order === -1 ? default_table : physicalNetworkTables(order).main;
}

/** By physical network, that of the node itself by an empty name: where packets go that carry those of networks. */
export function underlays(
  inputs: Pick<NodeInputs, 'uplinks' | 'uplink_128_to_64'>,
): ReadonlyMap<string, Underlay> {
  const named = physicalNetworks(inputs.uplinks);
  return new Map(
    ['', ...named].flatMap((name) => {
      const own = inputs.uplinks.filter(({ physical_network }) => physical_network === name);
      const [first] = own;
      if (first === undefined) return [];
      // Of another physical network none is the main one.
      const main = own.find(({ is_main }) => is_main) ?? first;
      const speaking = { ...inputs, uplinks: [{ ...main, is_main: true }] };
      const table_id = mainTableOf(name, named);
      const mtu = Math.min(...own.map((uplink) => uplink.mtu));
      return [[name, { table_id, ...nodeAddresses(speaking), mtu }] as const];
    }),
  );
}

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

function nodeAddresses(inputs: Pick<NodeInputs, 'uplinks' | 'uplink_128_to_64'>): {
  readonly ip4?: string;
  readonly ip6?: string;
} {
  const address = (family: Family) => {
    const prefix = nodeAddress(inputs, family);
    return prefix === undefined ? undefined : splitPrefix(prefix).address;
  };
  const [ip4, ip6] = [address(4), address(6)];
  return { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) };
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
    {
      kind: 'snat_policy',
      policy,
      keeper: snat_keeper,
    },
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
    ...(inputs.drop_other_protocols === true
      ? both.map((family): VppObject => ({ kind: 'protocol_table', family }))
      : []),
    ...both.flatMap((family): VppObject[] => [
      table(family, punt_table, `punt-table-ip${family}`),
      table(family, pods_table, `calico-pods-ip${family}`),
      ...allOf(family).map((prefix) =>
        route(pods_table, prefix, [{ via: 'lookup', table_id: default_table }]),
      ),
      ...(inputs.does_ike === true
        ? [
            table(family, ipsec_table, `ipsec-ip${family}`),
            ...allOf(family).map((prefix) =>
              route(ipsec_table, prefix, [{ via: 'lookup', table_id: default_table }]),
            ),
          ]
        : []),
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

function deviceObjects(device: Uplink['device']): VppObject[] {
  if (device.kind !== 'dev_port') return [device];
  const { pci, driver } = device;
  return [{ kind: 'dev', pci, driver }, device];
}

function uplinkObjects(uplink: Uplink, main_table: number, inputs: NodeInputs, up: boolean): VppObject[] {
  const tag = uplinkTag(uplink.name);
  const link_local = linkLocalOf(uplink);
  const { own, foreign } = splitOverlapping(vppAddresses(uplink, inputs.uplink_128_to_64));
  const virtual = [
    ...foreign.map((prefix) => splitPrefix(prefix).address),
    ...addressesBehind(uplink, inputs),
  ];
  return [
    ...deviceObjects(uplink.device),
    // Left to themselves these receive no group: no solicitation of IPv6 and no router would be heard. Others do by themselves.
    ...(uplink.device.kind === 'dev_port' ? [flag(tag, 'promisc')] : []),
    { kind: 'interface_mtu', interface: tag, mtu: uplink.mtu },
    { kind: 'interface_rx_mode', interface: tag, mode: uplink.rx_mode },
    ...(inputs.gso ? [flag(tag, 'gso_feature')] : []),
    flag(tag, 'ip6_enabled'),
    flag(tag, 'ra_suppressed'),
    ...(main_table === default_table ? uplinkNatFlags(inputs).map((name) => flag(tag, name)) : []),
    flag(tag, 'cnat_feature'),
    ...(uplink.leased === true ? [flag(tag, 'dhcp_client_detect')] : []),
    ...(up ? [flag(tag, 'admin_up')] : []),
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

/**
 * An IPv4 address inside another one's subnet (a keepalived or kube-vip /32), which VPP refuses to put on the interface, or one that the host
 * has elsewhere: it is answered by proxy ARP and handed to the host.
 */
function virtualAddress(address: string, uplink: Uplink, main_table: number): VppObject[] {
  const deliver = route(main_table, hostPrefix(address), [toHost(uplink, address)]);
  if (familyOf(address) === 6) return [deliver];
  return [deliver, { kind: 'proxy_arp_range', table_id: main_table, low: address, high: address }];
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
    route(own_table, everybody, [
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

/**
 * Packets for the node that VPP punts go to the host: its subnets' broadcasts, what a DHCP server offers there, and what it says to all that have no
 * address.
 */
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
  for (const uplink of uplinks) {
    const [address] = deliveredAddresses(uplink).filter((own) => familyOf(own) === 4);
    if (uplink.leased === true && address !== undefined) offer(everybody, uplink, address);
  }
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

function flag(tag: InterfaceTag, name: InterfaceSwitch): InterfaceFlag {
  return { kind: 'interface_flag', interface: tag, flag: name };
}
