/**
 * For each kind of object: its identity, what it needs, and its place in the order of adding and of removing.
 * The orders are those that VPP survives; each one that is not obvious says why.
 */
import {
  dangling_prefix,
  type InterfaceSwitch,
  type InterfaceTag,
  type ObjectKind,
  type ObjectOf,
  type Path,
  type VppObject,
} from '../desired/objects.js';

export interface Place<O> {
  /** Identity within its kind: two objects with one key are the same object in two versions. */
  readonly key: (o: O) => string;
  /** Lower is added first. */
  readonly add: number;
  /** Lower is removed first. */
  readonly remove: number | ((o: O) => number);
  /** Interfaces that must be there. */
  readonly on?: (o: O) => readonly InterfaceTag[];
  /** The interface that this object is. */
  readonly is?: (o: O) => InterfaceTag;
  /** The fields that a dump shows, beside the key; absent: all. An object whose other fields differ cannot be told from it. */
  readonly visible?: readonly (keyof O)[];
  /** How a dump shows the object, where that is not how it was sent. */
  readonly shown?: (o: O) => O;
  /** A changed object: `overwrite` adds the new version over the old, `remove_first` removes the old one before. */
  readonly change: 'overwrite' | 'remove_first';
  /** Goes with its interface, so that it need not be removed before it. */
  readonly dies_with_interface?: true;
  /** Always has some value: one that nobody asked for is left as it is. */
  readonly setting?: true;
  /** No dump shows it: what was there before an adoption is unknown, and adding it again is harmless. */
  readonly unobservable?: true;
}

const interfacesOf = (paths: readonly Path[]): InterfaceTag[] =>
  paths.flatMap((path) => (path.via === 'interface' ? [path.interface] : []));

/** VPP gives the path of an attached host the address of that host as next hop. */
function pathShown(path: Path, prefix: string): Path {
  const host = /^(.*)\/(?:32|128)$/.exec(prefix)?.[1];
  return path.via === 'interface' && ['0.0.0.0', '::'].includes(path.next_hop) && host !== undefined
    ? { ...path, next_hop: host }
    : path;
}

/** Removal, in this order: routes through interfaces, interface down, features off, addresses, bindings, interface gone, tables emptied, tables gone. */
const remove = {
  through: 10,
  down: 20,
  feature: 30,
  address: 39,
  bound: 40,
  interface: 50,
  in_table: 60,
  table: 70,
  global: 80,
};

export const place: { readonly [K in ObjectKind]: Place<ObjectOf<K>> } = {
  // The first cnat call of a VPP's life: it must precede the first interface_table, and the policy needs the addresses.
  snat_addresses: { key: () => '', add: 0, remove: remove.global + 1, change: 'overwrite' },
  snat_policy: { key: () => '', add: 1, remove: remove.global, change: 'overwrite', unobservable: true },
  snat_exclude: {
    key: (o) => o.prefix,
    add: 2,
    remove: remove.global,
    change: 'overwrite',
    unobservable: true,
  },
  neighbour_limits: { key: (o) => `${o.family}`, add: 3, remove: remove.global, change: 'overwrite' },
  table: {
    key: (o) => `${o.family}/${o.table_id}`,
    add: 10,
    remove: remove.table,
    visible: [],
    change: 'remove_first',
  },
  af_packet: {
    key: (o) => o.tag,
    is: (o) => o.tag,
    add: 20,
    remove: remove.interface,
    visible: ['host_if_name'],
    change: 'remove_first',
  },
  af_xdp: {
    key: (o) => o.tag,
    is: (o) => o.tag,
    add: 20,
    remove: remove.interface,
    visible: [],
    change: 'remove_first',
  },
  existing_interface: {
    key: (o) => o.tag,
    is: (o) => o.tag,
    add: 20,
    remove: remove.interface,
    change: 'overwrite',
  },
  // Not by its namespace: the same one may be written in another way.
  tap: {
    key: (o) => o.tag,
    is: (o) => o.tag,
    add: 21,
    remove: remove.interface,
    visible: ['host_if_name', 'type', 'gso', 'rx_ring_size', 'tx_ring_size'],
    change: 'remove_first',
  },
  // Before any address: VPP refuses to bind an interface that has one.
  interface_table: {
    key: (o) => `${o.interface}/${o.family}`,
    on: (o) => [o.interface],
    add: 30,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
  },
  interface_mtu: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    add: 31,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: true,
  },
  interface_rx_mode: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    add: 32,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: true,
  },
  rx_placement: {
    key: (o) => `${o.interface}/${o.queue_id}`,
    on: (o) => [o.interface],
    add: 32,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: true,
  },
  // Features and RA suppression before the interface is up: no packet passes without them.
  interface_flag: {
    key: (o) => `${o.interface}/${o.flag}`,
    on: (o) => [o.interface],
    add: 40,
    remove: (o) => (o.flag === 'admin_up' ? remove.down : remove.feature),
    change: 'overwrite',
  },
  link_local: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    add: 61,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: true,
  },
  // After the interface is up: VPP installs no glean route for an address that an interface got while it was down.
  interface_address: {
    key: (o) => `${o.interface}/${o.prefix}`,
    on: (o) => [o.interface],
    add: 60,
    remove: remove.address,
    change: 'overwrite',
    dies_with_interface: true,
  },
  route: {
    key: (o) => `${o.table_id}/${o.prefix}`,
    on: (o) => interfacesOf(o.paths),
    add: 70,
    remove: (o) => (interfacesOf(o.paths).length > 0 ? remove.through : remove.in_table),
    shown: (o) => ({ ...o, paths: o.paths.map((path) => pathShown(path, o.prefix)) }),
    change: 'overwrite',
  },
  mroute: {
    key: (o) => `${o.table_id}/${o.group}`,
    on: (o) => o.paths.flatMap((path) => (path.interface === undefined ? [] : [path.interface])),
    add: 70,
    remove: (o) => (o.paths.some((path) => path.interface !== undefined) ? remove.through : remove.in_table),
    visible: [],
    change: 'overwrite',
  },
  neighbour: {
    key: (o) => `${o.interface}/${o.address}`,
    on: (o) => [o.interface],
    add: 65,
    remove: remove.through,
    change: 'overwrite',
  },
  // Before the interface is up: a verdict holds for the life of a flow, so none may be made before this one.
  default_verdict: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    add: 45,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    unobservable: true,
  },
  // uRPF looks at routes that have to be there first, and comes off while its table is still there.
  urpf: {
    key: (o) => `${o.interface}/${o.family}`,
    on: (o) => [o.interface],
    add: 75,
    remove: remove.feature,
    change: 'remove_first',
  },
  ttl_fixup: {
    key: (o) => `${o.interface}/${o.towards}`,
    on: (o) => [o.interface, o.towards],
    add: 76,
    remove: remove.feature,
    change: 'overwrite',
    unobservable: true,
  },
  proxy_arp_range: {
    key: (o) => `${o.table_id}/${o.low}-${o.high}`,
    add: 76,
    remove: remove.in_table,
    change: 'overwrite',
  },
  punt_redirect: { key: (o) => `${o.family}`, add: 80, remove: remove.through, change: 'overwrite' },
  punt_l4: {
    key: (o) => `${o.family}/${o.protocol}`,
    add: 81,
    remove: remove.global,
    change: 'overwrite',
    unobservable: true,
  },
  redirect_table: { key: (o) => `${o.family}`, add: 84, remove: remove.global, change: 'overwrite' },
  redirect_rule: {
    key: (o) => `${o.protocol}/${o.address}/${o.port}`,
    on: (o) => [o.interface],
    add: 85,
    remove: remove.through,
    visible: [],
    change: 'overwrite',
  },
  redirect_acl: {
    key: (o) => `${o.interface}/${o.family}`,
    on: (o) => [o.interface],
    add: 86,
    remove: remove.through,
    change: 'overwrite',
  },
  translation: {
    key: (o) => `${o.protocol}/${o.address}/${o.port}`,
    add: 90,
    remove: remove.through,
    change: 'overwrite',
  },
};

/** `admin_up` comes last of an interface's switches, behind the features and before its addresses. */
const admin_up_place = 50;

function placeOf(object: VppObject): Place<VppObject> {
  return place[object.kind] as Place<VppObject>;
}

export function keyOf(object: VppObject): string {
  return `${object.kind}:${placeOf(object).key(object)}`;
}

export function addPlace(object: VppObject): number {
  return object.kind === 'interface_flag' && object.flag === 'admin_up'
    ? admin_up_place
    : placeOf(object).add;
}

export function removePlace(object: VppObject): number {
  const { remove } = placeOf(object);
  return typeof remove === 'number' ? remove : remove(object);
}

/** The fields in which two versions of this object can be told apart; undefined: all. */
export function visibleFields(object: VppObject): readonly string[] | undefined {
  return placeOf(object).visible;
}

/** The object as a dump shows it. */
export function asShown(object: VppObject): VppObject {
  return placeOf(object).shown?.(object) ?? object;
}

/** The interfaces that this object refers to. */
export function interfacesUsed(object: VppObject): readonly InterfaceTag[] {
  return placeOf(object).on?.(object) ?? [];
}

/** The tag of the interface that this object is, if it is one. */
export function interfaceMade(object: VppObject): InterfaceTag | undefined {
  return placeOf(object).is?.(object);
}

export function diesWithInterface(object: VppObject): boolean {
  return placeOf(object).dies_with_interface === true;
}

export function changeOf(object: VppObject): 'overwrite' | 'remove_first' {
  return placeOf(object).change;
}

/** True for what has a value in VPP whether anybody asked for one or not. */
export function isSetting(object: VppObject): boolean {
  return placeOf(object).setting === true;
}

export function isObservable(object: VppObject): boolean {
  if (object.kind === 'interface_flag') return !unobservable_flags.has(object.flag);
  return placeOf(object).unobservable !== true;
}

/** Bits that cnat keeps by sw_if_index: no dump shows them, and the next interface with that index inherits them. */
const snat_flags: readonly InterfaceSwitch[] = [
  'snat_pod',
  'snat_host',
  'snat_include_ip4',
  'snat_include_ip6',
];
const unobservable_flags: ReadonlySet<string> = new Set([...snat_flags, 'promisc']);

/** What has to be taken off an interface before it goes, whether it was seen there or not. */
export function outlives(object: VppObject): readonly VppObject[] {
  if (object.kind !== 'tap') return [];
  return snat_flags.map((flag) => ({ kind: 'interface_flag', interface: object.tag, flag }));
}

/**
 * Refers to an interface that VPP no longer has. VPP shares the path list of such a route with the next one that looks
 * alike and drops its packets for ever, so it has to be removed before anything like it is added.
 */
export function isDangling(object: VppObject): boolean {
  return interfacesUsed(object).some((tag) => tag.startsWith(dangling_prefix));
}
