/**
 * Networks beside the default one: which of them can be had, and what VPP holds for each, whatever pods are in it. Pure.
 *
 *   pod's table → pods' table of the network → main table of the network: its pods here, and by VXLAN those of other nodes
 *
 * Nothing leads from these tables to any other: addresses of one network may be those of another. All of it follows from the VNI, so that a
 * network which is made anew under another name, or with another range, is the same to VPP.
 */
import type { Network } from '../calico/kinds/network.js';
import type { NetworkAttachmentDefinition } from '../calico/kinds/network-attachment-definition.js';
import { type Bits, bitsOf, holds } from '../ip/bits.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { allOf, hostPrefix, networkOfTable, networkTables, table } from './tables.js';

/** A network as those know it who build on it: VPP has its tables. */
export interface NodeNetwork {
  readonly name: string;
  readonly vni: number;
  readonly range?: string;
  /** Milliseconds since 1970; absent: as if it had always been there. */
  readonly created_ms?: number;
  readonly physical_network: string;
}

/** Where packets between nodes go that carry those of a network. */
export interface Underlay {
  /** Table of the uplinks. */
  readonly table_id: number;
  /** This node's addresses there, without length. */
  readonly ip4?: string;
  readonly ip6?: string;
  /** Of these uplinks, the smallest. */
  readonly mtu: number;
}

/** What a node that has its tables says of it. */
export type NetworkHere = NodeNetwork & { readonly underlay: Underlay };

/** The addresses from which VPP speaks in a network of its own accord: errors for what has come from another node. No pod's table has them. */
const own_addresses = ['169.254.1.3', 'fdca:11c0::3'] as const;
const loopback_prefix = 'node-network-';

/** Tunnels of the network borrow its addresses: VPP has no address twice in a table, and lends none from one table to another. */
export const networkLoopback = (vni: number): InterfaceTag => `${loopback_prefix}${vni}`;

/** The objects of a network that are nobody's in particular. */
export function networkObjects(vni: number): VppObject[] {
  const { main, pods } = networkTables(vni);
  const tag = networkLoopback(vni);
  return [
    ...([4, 6] as const).flatMap((family): VppObject[] => [
      table(family, main, `network-${vni}-ip${family}`),
      table(family, pods, `network-${vni}-pods-ip${family}`),
      ...allOf(family).map(
        (prefix): VppObject => ({
          kind: 'route',
          source: 'node',
          table_id: pods,
          prefix,
          paths: [{ via: 'lookup', table_id: main }],
        }),
      ),
      { kind: 'interface_table', interface: tag, family, table_id: main },
    ]),
    { kind: 'loopback', tag },
    { kind: 'interface_flag', interface: tag, flag: 'ip6_enabled' },
    ...own_addresses.map(
      (address): VppObject => ({ kind: 'interface_address', interface: tag, prefix: hostPrefix(address) }),
    ),
  ];
}

/** The VNI of the network that one of the node's objects is there for; undefined: of none. */
export function networkOf(object: VppObject): number | undefined {
  if (object.kind === 'table' || object.kind === 'route' || object.kind === 'mroute')
    return networkOfTable(object.table_id);
  const tag = object.kind === 'loopback' ? object.tag : 'interface' in object ? object.interface : undefined;
  if (!tag?.startsWith(loopback_prefix)) return undefined;
  const vni = Number(tag.slice(loopback_prefix.length));
  return Number.isInteger(vni) ? vni : undefined;
}

/** Networks that an object of pods or of connectivity leads to, or is in: as long as VPP has it their tables stay. */
export function networksUsed(object: VppObject): readonly number[] {
  const tables: number[] = [];
  if ('table_id' in object && object.table_id !== undefined) tables.push(object.table_id);
  if (object.kind === 'route')
    for (const path of object.paths) if (path.via === 'lookup') tables.push(path.table_id);
  if (object.kind === 'mroute')
    for (const { table_id } of object.paths) if (table_id !== undefined) tables.push(table_id);
  const used = tables.flatMap((table_id) => networkOfTable(table_id) ?? []);
  if (object.kind !== 'unnumbered') return used;
  const vni = networkOf({ kind: 'loopback', tag: object.of });
  return vni === undefined ? used : [...used, vni];
}

export interface NetworkInputs {
  /** By `namespace/name`, or name. */
  readonly networks: ReadonlyMap<string, Network>;
  readonly attachments: ReadonlyMap<string, NetworkAttachmentDefinition>;
  /** Of the uplinks of this node. */
  readonly physical_networks: ReadonlySet<string>;
  /** Felix's own. */
  readonly vxlan_vni: number;
}

export interface UsableNetworks {
  /** Sorted by name. */
  readonly networks: readonly NodeNetwork[];
  /** By object, what is wrong with it and what to do. */
  readonly faults: Readonly<Record<string, string>>;
}

/** VPP's heap has 0.8 MB less for each (seen: four tables, of which those of IPv4 begin with 256 kB), whether a pod is in it or not. */
const networks_max = 400;

/** Those that can be had on this node. Of two that exclude each other the older one, then the first by key: all nodes choose alike. */
export function usableNetworks(inputs: NetworkInputs): UsableNetworks {
  const { physical_networks, vxlan_vni, attachments } = inputs;
  const faults: Record<string, string> = {};
  const by_name = new Map<string, Network>();
  const names = new Set<string>();
  const by_vni = new Map<number, string>();
  const oldest = [...inputs.networks].sort(
    ([key, a], [other, b]) => (a.created_ms ?? 0) - (b.created_ms ?? 0) || (key < other ? -1 : 1),
  );
  for (const [key, network] of oldest) {
    const { name, vni, physical_network } = network;
    const object = `Network ${key}`;
    const holder = by_vni.get(vni);
    if (vni === vxlan_vni)
      faults[object] = `has the VNI ${vni}, which is that of Calico's own VXLAN: give it another one`;
    else if (names.has(name))
      faults[object] =
        'has the name of another Network, in another namespace: pods tell networks by name alone; rename it';
    else if (holder !== undefined)
      faults[object] =
        `has the VNI ${vni}, which is that of Network ${holder}: give one of them another; until then this one is not there`;
    else {
      // Also where this node cannot have it: others can, and would send what is of it to whoever has its VNI here.
      names.add(name);
      by_vni.set(vni, key);
      const is_here = physical_network === '' || physical_networks.has(physical_network);
      if (is_here && by_name.size < networks_max) by_name.set(name, network);
      else if (is_here)
        faults[object] =
          `is one more than the ${networks_max} that a node has room for: delete those that nobody uses`;
      else
        faults[object] =
          `is of the physical network ${physical_network}, which no uplink of this node is in: set physicalNetworkName of one in CALICOVPP_INTERFACES, or correct it here`;
    }
  }
  for (const [key, { network }] of attachments) {
    if (network !== '' && !by_name.has(network))
      faults[`NetworkAttachmentDefinition ${key}`] =
        `names the network ${network.slice(0, 64)}, which this node does not have: create a Network of that name, see what is said of it, or correct the name`;
  }
  const networks = [...by_name.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(
      ({ name, vni, range, created_ms, physical_network }): NodeNetwork => ({
        name,
        vni,
        ...(range !== undefined && { range }),
        ...(created_ms !== undefined && { created_ms }),
        physical_network,
      }),
    );
  return { networks, faults };
}

const ranges = new WeakMap<NodeNetwork, Bits>();

function rangeOf(network: NodeNetwork): Bits | undefined {
  if (network.range === undefined) return undefined;
  const known = ranges.get(network);
  if (known !== undefined) return known;
  const bits = bitsOf(network.range);
  ranges.set(network, bits);
  return bits;
}

/** The network whose range has something of this prefix in it, or lies in it. Of several the oldest. */
export function networkAround(prefix: string, networks: readonly NodeNetwork[]): NodeNetwork | undefined {
  // Asked for each address of each service.
  if (networks.length === 0) return undefined;
  const bits = bitsOf(prefix);
  let oldest: NodeNetwork | undefined;
  for (const network of networks) {
    const around = rangeOf(network);
    if (around === undefined || !(holds(around, bits) || holds(bits, around))) continue;
    if (oldest === undefined || (network.created_ms ?? 0) < (oldest.created_ms ?? 0)) oldest = network;
  }
  return oldest;
}
