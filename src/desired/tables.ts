/**
 * Ids of the forwarding tables, chosen here and not by VPP: adding a table whose id is in use is no error for VPP, it
 * silently shares it. Each kind has a range of its own; a fresh process finds its tables again by name.
 */
import type { Family } from '../ip/text.js';
import { pods_table, type Table } from '../objects/routing.js';

export const default_table = 0;
/** Where punted packets are routed: node addresses to the host tap. */
export const punt_table = 1;
export { pods_table };
/**
 * Where SRv6 steers. In a table of routes VPP would drop a part of what is steered: see docs/vpp-notes.md. A route leads here, as another one leads by a
 * tunnel.
 */
export const srv6_table = 3;
/** Where what was sent here by SRv6 is looked up first: all of it goes to the loopback by which it comes in again, as from a tunnel. */
export const srv6_received_table = 4;

/**
 * Where the far ends of encrypted IPIP tunnels are looked up: all goes on in the default table. VPP takes IPIP in clear for the tunnel of the table that it comes
 * by, whether that is encrypted or not: by none of these anything comes, and ESP is told by its keys.
 */
export const ipsec_table = 5;

const host_tap_base = 0x0010_0000;
const physical_network_base = 0x0020_0000;
const pod_base = 0x0100_0000;
const stack_base = 0x0800_0000;
/** Beyond what slots of pods can reach. */
const network_base = 0x1000_0000;
const vnis = 2 ** 24;

/** The table of a host tap: each tap is alone in one, so that all can have the same address. */
export function hostTapTable(uplink_index: number): number {
  return host_tap_base + uplink_index;
}

/** Tables of a physical network other than the default one. `order` counts them from 0. */
export function physicalNetworkTables(order: number): { readonly main: number; readonly pods: number } {
  return { main: physical_network_base + 2 * order, pods: physical_network_base + 2 * order + 1 };
}

/** Tables of a pod interface. Slots are the cni actor's to give. */
export interface PodTableIds {
  /** For its packets. */
  readonly pod: number;
  /** Of the sources it may use. */
  readonly rpf: number;
  /** Of VPP's host stack for it. */
  readonly stack: number;
}

export function podTables(slot: number): PodTableIds {
  return { pod: pod_base + 2 * slot, rpf: pod_base + 2 * slot + 1, stack: stack_base + slot };
}

/** Which of its pod's tables an id belongs to; undefined for an id outside the pods' range. */
export function podTableRole(table_id: number): keyof PodTableIds | undefined {
  const slot = podSlot(table_id);
  if (slot === undefined) return undefined;
  if (table_id >= stack_base) return 'stack';
  return table_id === podTables(slot).pod ? 'pod' : 'rpf';
}

/** The slot that a table id belongs to; undefined for an id outside the pods' range. */
export function podSlot(table_id: number): number | undefined {
  if (table_id < pod_base || table_id >= network_base) return undefined;
  return table_id < stack_base ? Math.floor((table_id - pod_base) / 2) : table_id - stack_base;
}

/**
 * Tables of a network beside the default one: where its addresses are, and where its pods look for their way. They follow from its VNI, which no other has:
 * nothing is given out, and an earlier life has chosen the same.
 */
export function networkTables(vni: number): { readonly main: number; readonly pods: number } {
  return { main: network_base + 2 * vni, pods: network_base + 2 * vni + 1 };
}

/** The VNI of the network that a table is of; undefined for any other table. */
export function networkOfTable(table_id: number): number | undefined {
  const vni = Math.floor((table_id - network_base) / 2);
  return vni >= 0 && vni < vnis ? vni : undefined;
}

export function table(family: Family, table_id: number, name: string, multicast = true): Table {
  return { kind: 'table', family, table_id, name, multicast };
}

/**
 * Prefixes by which a table hands all packets of the family on to another one. VPP has a drop of 240.0.0.0/4 in each table that no route
 * replaces, and clusters that are short of addresses give these to pods: the halves are more specific (seen).
 */
export function allOf(family: Family): readonly string[] {
  return family === 4 ? [everything(4), '240.0.0.0/5', '248.0.0.0/5'] : [everything(6)];
}

/** The prefix that holds every address of the family. */
export function everything(family: Family): string {
  return family === 4 ? '0.0.0.0/0' : '::/0';
}

/** `10.0.0.1` to `10.0.0.1/32`. */
export function hostPrefix(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}
