/** Tables, routes, neighbours, and what else decides where a packet goes. */
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { type Family, familyOf } from '../ip/text.js';
import { isPodTableName } from '../pod/names.js';
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';
import { isConnectivityTable, isNodeTable, type Ownership } from './owner.js';

/** A forwarding table of one family. `multicast` false leaves out the multicast table that VPP makes beside it. */
export interface Table {
  readonly kind: 'table';
  readonly family: Family;
  readonly table_id: number;
  readonly name: string;
  readonly multicast: boolean;
}

/**
 * One way out of a route. `next_hop`: VPP looks for the way to the next hop in the default table itself, and follows it. `lookup` continues
 * in another table, `drop` discards, `unreachable` discards and says so to the sender.
 */
export type Path =
  | { readonly via: 'interface'; readonly interface: InterfaceTag; readonly next_hop: string }
  | { readonly via: 'next_hop'; readonly next_hop: string }
  | { readonly via: 'lookup'; readonly table_id: number }
  | { readonly via: 'drop' }
  | { readonly via: 'unreachable' };

/**
 * Whose a route is, told by the FIB source that VPP shows for it: one for each owner (`vpp-conn/fib-sources.ts`). Two owners may have a
 * route to one prefix; VPP forwards by the better source and falls back to the other.
 */
export type RouteSource = 'node' | 'pods' | 'connectivity' | 'services';

/** Always sent whole: adding a prefix replaces its paths, removing it removes all of them. */
export interface Route {
  readonly kind: 'route';
  readonly source: RouteSource;
  readonly table_id: number;
  readonly prefix: string;
  readonly paths: readonly Path[];
}

export interface MulticastPath {
  /** Absent: continue in the multicast table `table_id`. */
  readonly interface?: InterfaceTag;
  readonly table_id?: number;
  readonly accept: boolean;
  readonly forward: boolean;
}

export interface MulticastRoute {
  readonly kind: 'mroute';
  readonly table_id: number;
  /** Group with its length, e.g. `ff02::1/128`. */
  readonly group: string;
  readonly accept_all_interfaces: boolean;
  readonly paths: readonly MulticastPath[];
}

/** A static neighbour. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly interface: InterfaceTag;
  readonly address: string;
  readonly mac: string;
}

/** One that has answered, or has been heard. */
export interface KnownNeighbour {
  readonly address: string;
  readonly mac: string;
}

export interface NeighbourLimits {
  readonly kind: 'neighbour_limits';
  readonly family: Family;
  readonly max_number: number;
  /** Seconds; 0 turns ageing off. */
  readonly max_age_s: number;
}

/** VPP answers ARP requests for this range in this table. */
export interface ProxyArpRange {
  readonly kind: 'proxy_arp_range';
  readonly table_id: number;
  readonly low: string;
  readonly high: string;
}

/** What comes from pods is looked up in it. It has no route through an interface. */
export const pods_table = 2;

/** Drops what comes in with a source that `table_id` has no route to (loose), or no route through this interface (strict). */
export interface Urpf {
  readonly kind: 'urpf';
  readonly interface: InterfaceTag;
  readonly family: Family;
  readonly mode: 'loose' | 'strict';
  readonly table_id: number;
}

/** What comes in on `interface` and leaves by `towards` keeps its TTL. */
export interface TtlFixup {
  readonly kind: 'ttl_fixup';
  readonly interface: InterfaceTag;
  readonly towards: InterfaceTag;
}

/** Where packets for the node itself go. */
export interface PuntRedirect {
  readonly kind: 'punt_redirect';
  readonly family: Family;
  readonly table_id: number;
}

/** Packets of this protocol that no socket of VPP takes are punted instead of answered. */
export interface PuntL4 {
  readonly kind: 'punt_l4';
  readonly family: Family;
  readonly protocol: 'tcp' | 'udp';
}

export type RoutingObject =
  | Table
  | Route
  | MulticastRoute
  | Neighbour
  | NeighbourLimits
  | ProxyArpRange
  | Urpf
  | TtlFixup
  | PuntRedirect
  | PuntL4;

const no_interfaces: readonly InterfaceTag[] = [];

function interfacesOf(paths: readonly Path[]): readonly InterfaceTag[] {
  let tags: InterfaceTag[] | undefined;
  for (const path of paths) {
    if (path.via !== 'interface') continue;
    tags ??= [];
    tags.push(path.interface);
  }
  return tags ?? no_interfaces;
}

const ofInterface = {
  by: 'interface',
  of: (o: { readonly interface: InterfaceTag }): InterfaceTag => o.interface,
} as const;
const onInterface = (o: { readonly interface: InterfaceTag }): readonly InterfaceTag[] => [o.interface];
const nodes = { by: 'kind', owner: 'node' } as const;

function ownerOfTable({ name, family }: Table): Ownership {
  if (isNodeTable(name)) return 'node';
  if (isConnectivityTable(name)) return 'connectivity';
  return isPodTableName(name, family) ? 'pods' : 'foreign';
}

export const routing_kinds: Kinds<RoutingObject> = {
  table: {
    key: (o) => `${o.family}/${o.table_id}`,
    owner: { by: 'name', of: ownerOfTable },
    same: always,
    add: 10,
    remove: remove.table,
    change: 'remove_first',
  },
  route: {
    key: (o) => `${o.source}/${o.table_id}/${o.prefix}`,
    canonical: canonicalRoute,
    on: (o) => interfacesOf(o.paths),
    owner: { by: 'fib_source', of: (o) => o.source },
    same: (wanted, there) => samePaths(wanted, there),
    // In a table of SRv6 there is nothing else.
    leads_to: ({ prefix, paths: [path] }) =>
      path?.via === 'lookup' ? `srv6_steering:${path.table_id}/${prefix}` : undefined,
    add: 70,
    remove: (o) => (interfacesOf(o.paths).length > 0 ? remove.through : remove.in_table),
    change: 'overwrite',
  },
  // The dump shows neither the entry's flags nor all of a path's.
  mroute: {
    key: (o) => `${o.table_id}/${o.group}`,
    on: (o) => o.paths.flatMap((path) => (path.interface === undefined ? [] : [path.interface])),
    owner: { by: 'table', of: (o) => ({ family: familyOf(o.group), table_id: o.table_id }) },
    same: always,
    add: 70,
    remove: (o) => (o.paths.some((path) => path.interface !== undefined) ? remove.through : remove.in_table),
    change: 'overwrite',
  },
  neighbour: {
    key: (o) => `${o.interface}/${o.address}`,
    canonical: (o) => {
      const address = canonicalAddress(o.address) ?? o.address;
      const mac = o.mac.toLowerCase();
      return address === o.address && mac === o.mac ? o : { ...o, address, mac };
    },
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.mac === there.mac,
    add: 65,
    remove: remove.through,
    change: 'overwrite',
  },
  neighbour_limits: {
    key: (o) => `${o.family}`,
    owner: nodes,
    same: (wanted, there) => wanted.max_number === there.max_number && wanted.max_age_s === there.max_age_s,
    add: 4,
    remove: remove.global,
    change: 'overwrite',
  },
  // uRPF looks at routes that have to be there first, and comes off while its table is still there. What keeps all back looks at none, and is there
  // before the interface is up.
  urpf: {
    key: (o) => `${o.interface}/${o.family}`,
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.mode === there.mode && wanted.table_id === there.table_id,
    add: (o) => (o.table_id === pods_table ? 45 : 75),
    remove: remove.feature,
    // A table of sources may go; the others are always there, and no moment is without a check.
    change: ({ mode }) => (mode === 'loose' ? 'remove_first' : 'overwrite'),
  },
  ttl_fixup: {
    key: (o) => `${o.interface}/${o.towards}`,
    on: (o) => [o.interface, o.towards],
    owner: ofInterface,
    same: always,
    add: 76,
    remove: remove.feature,
    change: 'overwrite',
    recorded: always,
  },
  proxy_arp_range: {
    key: (o) => `${o.table_id}/${o.low}-${o.high}`,
    // The node's are in the default table, too, which is nobody's by its name.
    owner: nodes,
    same: always,
    add: 76,
    remove: remove.in_table,
    change: 'overwrite',
  },
  punt_redirect: {
    key: (o) => `${o.family}`,
    owner: nodes,
    same: (wanted, there) => wanted.table_id === there.table_id,
    add: 80,
    remove: remove.through,
    change: 'overwrite',
  },
  punt_l4: {
    key: (o) => `${o.family}/${o.protocol}`,
    owner: nodes,
    same: always,
    add: 81,
    remove: remove.global,
    change: 'overwrite',
    recorded: always,
  },
};

/**
 * A prefix with its host bits set is another key than the one that VPP makes of it: a hole in forwarding. VPP sorts paths as it
 * likes, and takes one that is there twice as two.
 */
function canonicalRoute(o: Route): Route {
  const prefix = canonicalPrefix(o.prefix) ?? o.prefix;
  const paths = canonicalPaths(o.paths);
  return prefix === o.prefix && paths === o.paths ? o : { ...o, prefix, paths };
}

function canonicalPaths(paths: readonly Path[]): readonly Path[] {
  const [only, another] = paths;
  if (only !== undefined && another === undefined) {
    const path = canonicalPath(only);
    return path === only ? paths : [path];
  }
  const spelled = paths.map(canonicalPath);
  const by_text = new Map(spelled.map((path) => [pathText(path), path]));
  const sorted = [...by_text.keys()].sort().map((text) => by_text.get(text)!);
  return sorted.length === paths.length && sorted.every((path, at) => path === paths[at]) ? paths : sorted;
}

function canonicalPath(path: Path): Path {
  if (path.via !== 'interface' && path.via !== 'next_hop') return path;
  const next_hop = canonicalAddress(path.next_hop) ?? path.next_hop;
  return next_hop === path.next_hop ? path : { ...path, next_hop };
}

function pathText(path: Path): string {
  switch (path.via) {
    case 'interface':
      return `interface ${path.next_hop} ${path.interface}`;
    case 'next_hop':
      return `next_hop ${path.next_hop}`;
    case 'lookup':
      return `lookup ${path.table_id}`;
    case 'drop':
    case 'unreachable':
      return path.via;
  }
}

function samePaths(wanted: Route, there: Route): boolean {
  return (
    wanted.paths.length === there.paths.length &&
    wanted.paths.every((path, at) => samePath(path, there.paths[at]!, wanted.prefix))
  );
}

function samePath(wanted: Path, there: Path, prefix: string): boolean {
  if (wanted.via === 'interface') {
    return (
      there.via === 'interface' &&
      wanted.interface === there.interface &&
      (wanted.next_hop === there.next_hop || nextHopShown(wanted.next_hop, prefix) === there.next_hop)
    );
  }
  if (wanted.via === 'next_hop') return there.via === 'next_hop' && wanted.next_hop === there.next_hop;
  if (wanted.via === 'lookup') return there.via === 'lookup' && wanted.table_id === there.table_id;
  return there.via === wanted.via;
}

/** VPP gives the path of an attached host the address of that host as next hop. */
function nextHopShown(next_hop: string, prefix: string): string {
  const attached = next_hop === '0.0.0.0' || next_hop === '::';
  return (attached && /^(.*)\/(?:32|128)$/.exec(prefix)?.[1]) || next_hop;
}
