/** What the programs of all kinds share. */
import { sw_interface_tag_add_del } from 'vpp-binapi-ts/interface';
import type { address_family, ip_proto } from 'vpp-binapi-ts/ip_types';
import type { Family } from '../../ip/text.js';
import type { InterfaceTag } from '../../objects/interfaces.js';
import type { ObjectKind, ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';

/** How an object of one kind is added and removed. */
export interface Program<O> {
  readonly add: (o: O, at: Handles) => readonly Call[];
  /** What can only be sent once VPP has told the handle of `o`. */
  readonly follow?: (o: O, at: Handles) => readonly Call[];
  /** Nothing where VPP keeps what cannot be taken back, or where it goes with what holds it. */
  readonly remove: (o: O, at: Handles) => readonly Call[];
}

export type Programs<Kinds extends ObjectKind> = { readonly [K in Kinds]: Program<ObjectOf<K>> };

export const none: readonly Call[] = [];

export const afOf = (family: Family): address_family => (family === 4 ? 'ADDRESS_IP4' : 'ADDRESS_IP6');

export const protocols: Readonly<Record<'tcp' | 'udp' | 'sctp', ip_proto>> = {
  tcp: 'IP_API_PROTO_TCP',
  udp: 'IP_API_PROTO_UDP',
  sctp: 'IP_API_PROTO_SCTP',
};

/** Names an interface that VPP has just made. */
export function tag(name: InterfaceTag, at: Handles): Call {
  return call(sw_interface_tag_add_del, { is_add: true, sw_if_index: at.interface(name), tag: name });
}
