/**
 * Whose an object is. Each object has one owner, who alone adds and removes it, and a fresh process tells it from what VPP
 * shows: the kind, a name or tag that follows a rule, the interface or table that the object belongs to, the FIB source of a
 * route. Where VPP shows nothing, the registry of that VPP does (`vpp-conn/registry.ts`).
 *
 * The table of all kinds is `ownership` in object.ts.
 */
import type { Family } from '../ip/text.js';
import type { InterfaceTag } from './interfaces.js';

/** Who writes to VPP. */
export const owners = ['node', 'pods', 'connectivity', 'services', 'policies'] as const;
export type OwnerName = (typeof owners)[number];

/**
 * `nobody`: about an interface that VPP has no more, and not told by anything else: whoever makes interfaces next removes it first.
 * `foreign`: made by others, the operator's start-up commands for example: never touched.
 */
export type Ownership = OwnerName | 'nobody' | 'foreign';

export type OwnerRule<O> =
  /** All of this kind are one owner's. */
  | { readonly by: 'kind'; readonly owner: OwnerName }
  /** By its own tag or name. */
  | { readonly by: 'name'; readonly of: (o: O) => Ownership }
  /** That of the interface it belongs to. */
  | { readonly by: 'interface'; readonly of: (o: O) => InterfaceTag }
  /** That of the table it is in. */
  | { readonly by: 'table'; readonly of: (o: O) => { readonly family: Family; readonly table_id: number } }
  /** By the FIB source that VPP shows for it. */
  | { readonly by: 'fib_source'; readonly of: (o: O) => OwnerName };

/** The beginnings of names and tags that the node gives, and nobody else. Those of pods are hashes: see pod/names.ts. */
const uplink_tag = 'main-';
const host_tap_tag = 'host-';
const node_tags: readonly string[] = [uplink_tag, host_tap_tag, 'node-'];
/** Of the tables of networks beside the default one: those of pods and of connectivity have routes in them, too. */
const network_tables = 'network-';
const node_tables: readonly string[] = [
  'punt-table-',
  'calico-pods-',
  'physical-net-',
  'host-tap-',
  'ipsec-',
  network_tables,
];

/** Of the tables of SRv6. */
const srv6_tables = 'srv6-';

/** Whether connectivity gives tables such names. */
export function isConnectivityTable(name: string): boolean {
  return name.startsWith(srv6_tables);
}

/** Whether the table is that of a network beside the default one. */
export function isNetworkTable(name: string): boolean {
  return name.startsWith(network_tables);
}

/** Whether the node gives such tags. */
export function isNodeTag(tag: InterfaceTag): boolean {
  return node_tags.some((start) => tag.startsWith(start));
}

/** Whether it is the tag of an uplink, made by the node or by VPP's start-up files. */
export function isUplinkTag(tag: InterfaceTag): boolean {
  return tag.startsWith(uplink_tag);
}

/** Whether it is the tag of a tap by which the host has its network. */
export function isHostTapTag(tag: InterfaceTag): boolean {
  return tag.startsWith(host_tap_tag);
}

/** Whether the node gives tables such names. */
export function isNodeTable(name: string): boolean {
  return node_tables.some((start) => name.startsWith(start));
}
