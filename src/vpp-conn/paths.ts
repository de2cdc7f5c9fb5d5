/** Route paths between our form and VPP's fib_path, both ways. */
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import { isUnspecified } from '../ip/spelling.js';
import { type Family, familyOf } from '../ip/text.js';
import { dangling_prefix, type InterfaceTag } from '../objects/interfaces.js';
import type { ObjectOf } from '../objects/object.js';
import type { Path } from '../objects/routing.js';
import type { Handles } from './handles.js';

/** VPP's "none" for indexes and ids. */
export const no_interface = 0xffffffff;

const unspecified = (family: Family): string => (family === 4 ? '0.0.0.0' : '::');

const no_labels: fib_path['label_stack'] = [];

interface PathFields {
  readonly sw_if_index?: number;
  readonly table_id?: number;
  readonly next_hop?: string;
  readonly type?: fib_path['type'];
}

/** A path with all that we never vary. Its protocol is that of the next hop, which need not be the route's. */
export function pathTo(family: Family, fields: PathFields): fib_path {
  const address = fields.next_hop ?? unspecified(family);
  return {
    sw_if_index: fields.sw_if_index ?? no_interface,
    table_id: fields.table_id ?? 0,
    rpf_id: 0,
    weight: 1,
    preference: 0,
    type: fields.type ?? 'FIB_API_PATH_TYPE_NORMAL',
    flags: 0,
    proto: familyOf(address) === 4 ? 'FIB_API_PATH_NH_PROTO_IP4' : 'FIB_API_PATH_NH_PROTO_IP6',
    nh: { address, via_label: 0, obj_id: 0, classify_table_index: 0 },
    label_stack: no_labels,
  };
}

const drop: PathFields = { type: 'FIB_API_PATH_TYPE_DROP' };
const unreachable: PathFields = { type: 'FIB_API_PATH_TYPE_ICMP_UNREACH' };

export function pathsTo(route: ObjectOf<'route'>, at: Handles): fib_path[] {
  const family = familyOf(route.prefix);
  return route.paths.map((path) => toVpp(path, family, at));
}

function toVpp(path: Path, family: Family, at: Handles): fib_path {
  switch (path.via) {
    case 'interface':
      return pathTo(family, { sw_if_index: at.interface(path.interface), next_hop: path.next_hop });
    case 'next_hop':
      return pathTo(family, { next_hop: path.next_hop });
    case 'lookup':
      return pathTo(family, { table_id: path.table_id });
    case 'drop':
      return pathTo(family, drop);
    case 'unreachable':
      return pathTo(family, unreachable);
  }
}

/** What a dumped path is in our form; `tagOf` names an interface, also one that VPP has no more. */
export function pathFrom(path: fib_path, tagOf: (sw_if_index: number) => InterfaceTag): Path {
  if (path.type === 'FIB_API_PATH_TYPE_DROP') return { via: 'drop' };
  if (path.type === 'FIB_API_PATH_TYPE_ICMP_UNREACH') return { via: 'unreachable' };
  if (isRecursive(path)) return { via: 'next_hop', next_hop: path.nh.address };
  if (path.sw_if_index === no_interface) return { via: 'lookup', table_id: path.table_id };
  return {
    via: 'interface',
    interface: tagOf(path.sw_if_index),
    next_hop: path.nh.address,
  };
}

/** Has a next hop and no interface: VPP looks for a route to the next hop. */
export function isRecursive({ type, sw_if_index, nh }: fib_path): boolean {
  return type === 'FIB_API_PATH_TYPE_NORMAL' && sw_if_index === no_interface && !isUnspecified(nh.address);
}

export function danglingTag(sw_if_index: number): InterfaceTag {
  return `${dangling_prefix}${sw_if_index}`;
}
