import type { Family } from '../../ip/text.js';
import { familyOf, parseAddress, parseMac, parsePrefix } from '../../ip/text.js';
import type {
  NetworkChange,
  NewAddress,
  NewLink,
  NewNeighbour,
  NewRoute,
  NewRule,
  NextHop,
  NexthopObject,
  RouteMetric,
} from '../../linux/network.js';
import {
  type MessageWriter,
  NLM_F_ACK,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
} from './netlink-message.js';
import {
  AF_INET6,
  addressFamily,
  FIB_RULE_INVERT,
  FOREVER,
  FR_ACT_TO_TBL,
  FRA,
  IFA,
  IFF_PROMISC,
  IFF_UP,
  IFLA,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_MACVLAN_MODE,
  IFLA_VLAN_ID,
  IFLA_XDP_FD,
  MACVLAN_MODE_BRIDGE,
  NDA,
  NHA,
  NUD_PERMANENT,
  NUD_PROBE,
  ROUTE_METRICS,
  ROUTE_TYPES,
  RT_SCOPE,
  RT_TABLE_MAIN,
  RTA,
  RTAX_CC_ALGO,
  RTM,
  RTNH_F_ONLINK,
  RTPROT_BOOT,
  VETH_INFO_PEER,
} from './rtnetlink-constants.js';

/** A change as one netlink request. The only input that is not in the change itself: descriptors of namespaces. */

/** Answers a descriptor of the namespace at `path` that stays open until the request is sent. */
export type NamespaceDescriptor = (path: string) => number;

const ADD = NLM_F_CREATE | NLM_F_EXCL;
const REPLACE = NLM_F_CREATE | NLM_F_REPLACE;

/** Message type and flags of each change. */
const REQUESTS: Readonly<Record<NetworkChange['do'], readonly [type: number, flags: number]>> = {
  set_link: [RTM.SETLINK, 0],
  move_link: [RTM.SETLINK, 0],
  set_vf: [RTM.SETLINK, 0],
  add_link: [RTM.NEWLINK, ADD],
  delete_link: [RTM.DELLINK, 0],
  add_altname: [RTM.NEWLINKPROP, ADD | NLM_F_APPEND],
  delete_altname: [RTM.DELLINKPROP, 0],
  add_address: [RTM.NEWADDR, ADD],
  replace_address: [RTM.NEWADDR, REPLACE],
  delete_address: [RTM.DELADDR, 0],
  add_route: [RTM.NEWROUTE, ADD],
  append_route: [RTM.NEWROUTE, NLM_F_CREATE | NLM_F_APPEND],
  prepend_route: [RTM.NEWROUTE, NLM_F_CREATE],
  replace_route: [RTM.NEWROUTE, REPLACE],
  delete_route: [RTM.DELROUTE, 0],
  set_nexthop: [RTM.NEWNEXTHOP, REPLACE],
  set_neighbour: [RTM.NEWNEIGH, REPLACE],
  delete_neighbour: [RTM.DELNEIGH, 0],
  probe_neighbour: [RTM.NEWNEIGH, 0],
  add_rule: [RTM.NEWRULE, ADD],
  delete_rule: [RTM.DELRULE, 0],
};

/** Writes the request for `change`. Throws RangeError for text that is no address, MAC or prefix. */
export function encodeChange(
  writer: MessageWriter,
  change: NetworkChange,
  sequence: number,
  namespace: NamespaceDescriptor,
): void {
  const [type, flags] = REQUESTS[change.do];
  writer.begin(type, NLM_F_REQUEST | NLM_F_ACK | flags, sequence);
  switch (change.do) {
    case 'set_link':
      encodeSetLink(writer, change);
      break;
    case 'move_link':
      encodeLinkHeader(writer, change.link, 0, 0);
      writer.attributeU32(IFLA.NET_NS_FD, namespace(change.netns));
      if (change.name !== undefined) writer.attributeText(IFLA.IFNAME, change.name);
      break;
    case 'set_vf':
      encodeVirtualFunction(writer, change);
      break;
    case 'add_link':
      encodeNewLink(writer, change.link, namespace);
      break;
    case 'delete_link':
      encodeLinkHeader(writer, change.link, 0, 0);
      break;
    case 'add_altname':
    case 'delete_altname':
      encodeLinkHeader(writer, change.link, 0, 0);
      writer.nested(IFLA.PROP_LIST, () => writer.attributeText(IFLA.ALT_IFNAME, change.altname));
      break;
    case 'add_address':
    case 'replace_address':
    case 'delete_address':
      encodeAddress(writer, change.address);
      break;
    case 'add_route':
    case 'append_route':
    case 'prepend_route':
    case 'replace_route':
      encodeRoute(writer, change.route, defaultScope(change.route), RTPROT_BOOT, 'unicast');
      break;
    case 'delete_route':
      // What is not named matches any.
      encodeRoute(writer, change.route, RT_SCOPE.nowhere, 0, 'unspec');
      break;
    case 'set_nexthop':
      encodeNexthop(writer, change.nexthop);
      break;
    case 'set_neighbour':
    case 'delete_neighbour':
      encodeNeighbour(writer, change.neighbour);
      break;
    case 'probe_neighbour': {
      const { link, family, address } = change.neighbour;
      encodeNeighbour(writer, { link, family, address, state: NUD_PROBE });
      break;
    }
    case 'add_rule':
    case 'delete_rule':
      encodeRule(writer, change.rule);
      break;
  }
  writer.end();
}

function encodeLinkHeader(writer: MessageWriter, index: number, flags: number, change: number): void {
  writer.u8(0).u8(0).u16(0).u32(index).u32(flags).u32(change);
}

/** IFLA_VF_*, linux/if_link.h: each has the number of the function first. */
const IFLA_VF_INFO = 1;
const IFLA_VF_MAC = 1;
const IFLA_VF_SPOOFCHK = 4;
const IFLA_VF_TRUST = 9;
/** MAX_ADDR_LEN: what `struct ifla_vf_mac` has room for. */
const vf_mac_bytes = 32;

function encodeVirtualFunction(
  writer: MessageWriter,
  { link, vf, mac, trust, spoof_check }: Extract<NetworkChange, { do: 'set_vf' }>,
): void {
  const setting = (on: boolean): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(vf, 0);
    bytes.writeUInt32LE(Number(on), 4);
    return bytes;
  };
  const address = Buffer.alloc(4 + vf_mac_bytes);
  address.writeUInt32LE(vf, 0);
  parseMac(mac).copy(address, 4);
  encodeLinkHeader(writer, link, 0, 0);
  writer.nested(IFLA.VFINFO_LIST, () =>
    writer.nested(IFLA_VF_INFO, () => {
      writer.attribute(IFLA_VF_MAC, address);
      writer.attribute(IFLA_VF_SPOOFCHK, setting(spoof_check));
      writer.attribute(IFLA_VF_TRUST, setting(trust));
    }),
  );
}

function encodeSetLink(writer: MessageWriter, change: Extract<NetworkChange, { do: 'set_link' }>): void {
  const { up, promisc, mtu, mac, name, master, addrgen_mode, xdp, txqlen, group, alias } = change;
  const flags = (up ? IFF_UP : 0) | (promisc ? IFF_PROMISC : 0);
  const mask = (up === undefined ? 0 : IFF_UP) | (promisc === undefined ? 0 : IFF_PROMISC);
  encodeLinkHeader(writer, change.link, flags, mask);
  encodeLinkAttributes(writer, { name, mac, mtu });
  if (txqlen !== undefined) writer.attributeU32(IFLA.TXQLEN, txqlen);
  if (group !== undefined) writer.attributeU32(IFLA.GROUP, group);
  if (alias !== undefined) writer.attribute(IFLA.IFALIAS, Buffer.from(alias));
  if (master !== undefined) writer.attributeU32(IFLA.MASTER, master);
  // A descriptor of -1 takes the program off.
  if (xdp === false) writer.nested(IFLA.XDP, () => writer.attributeU32(IFLA_XDP_FD, 0xffff_ffff));
  if (addrgen_mode !== undefined)
    writer.nested(IFLA.AF_SPEC, () =>
      writer.nested(AF_INET6, () => writer.attributeU8(IFLA_INET6_ADDR_GEN_MODE, addrgen_mode)),
    );
}

interface LinkAttributes {
  readonly name?: string | undefined;
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
}

function encodeLinkAttributes(writer: MessageWriter, { name, mac, mtu }: LinkAttributes): void {
  if (name !== undefined) writer.attributeText(IFLA.IFNAME, name);
  if (mac !== undefined) writer.attribute(IFLA.ADDRESS, parseMac(mac));
  if (mtu !== undefined) writer.attributeU32(IFLA.MTU, mtu);
}

function encodeNewLink(writer: MessageWriter, link: NewLink, namespace: NamespaceDescriptor): void {
  encodeLinkHeader(writer, 0, link.up ? IFF_UP : 0, link.up ? IFF_UP : 0);
  encodeLinkAttributes(writer, link);
  if ('link' in link) writer.attributeU32(IFLA.LINK, link.link);
  if (link.kind === 'veth') encodeQueues(writer, link.queues);
  writer.nested(IFLA.LINKINFO, () => {
    writer.attributeText(IFLA_INFO_KIND, link.kind);
    encodeLinkData(writer, link, namespace);
  });
}

function encodeQueues(writer: MessageWriter, queues: number | undefined): void {
  if (queues === undefined) return;
  writer.attributeU32(IFLA.NUM_TX_QUEUES, queues).attributeU32(IFLA.NUM_RX_QUEUES, queues);
}

function encodeLinkData(writer: MessageWriter, link: NewLink, namespace: NamespaceDescriptor): void {
  switch (link.kind) {
    case 'dummy':
    case 'bridge':
      return;
    case 'vlan':
      writer.nested(IFLA_INFO_DATA, () => writer.attributeU16(IFLA_VLAN_ID, link.id));
      return;
    case 'macvlan':
      writer.nested(IFLA_INFO_DATA, () => writer.attributeU32(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE));
      return;
    case 'veth':
      writer.nested(IFLA_INFO_DATA, () =>
        writer.nested(VETH_INFO_PEER, () => {
          encodeLinkHeader(writer, 0, 0, 0);
          encodeLinkAttributes(writer, link.peer);
          encodeQueues(writer, link.queues);
          if (link.peer.netns !== undefined) writer.attributeU32(IFLA.NET_NS_FD, namespace(link.peer.netns));
        }),
      );
  }
}

/** What a user may set; the rest (tentative, permanent, secondary …) is the kernel's to say. */
const SETTABLE_ADDRESS_FLAGS = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;

function encodeAddress(writer: MessageWriter, address: NewAddress): void {
  const { family, bytes, length } = parsePrefix(address.prefix);
  const flags = (address.flags ?? 0) & SETTABLE_ADDRESS_FLAGS;
  writer
    .u8(addressFamily(family))
    .u8(length)
    .u8(flags & 0xff)
    .u8(address.scope ?? 0)
    .u32(address.link);
  writer.attribute(IFA.LOCAL, bytes);
  writer.attribute(IFA.ADDRESS, address.peer === undefined ? bytes : parseAddress(address.peer, family));
  if (address.broadcast !== undefined)
    writer.attribute(IFA.BROADCAST, parseAddress(address.broadcast, family));
  if (address.label !== undefined) writer.attributeText(IFA.LABEL, address.label);
  if (flags) writer.attributeU32(IFA.FLAGS, flags);
  if (address.metric !== undefined) writer.attributeU32(IFA.RT_PRIORITY, address.metric);
  if (address.protocol !== undefined) writer.attributeU8(IFA.PROTO, address.protocol);
  if (address.valid_s === undefined && address.preferred_s === undefined) return;
  const lifetimes = Buffer.alloc(16);
  lifetimes.writeUInt32LE(address.preferred_s ?? FOREVER, 0);
  lifetimes.writeUInt32LE(address.valid_s ?? FOREVER, 4);
  writer.attribute(IFA.CACHEINFO, lifetimes);
}

/** As `ip route` chooses it: what the link reaches by itself is of link scope, this host's own of host scope. */
function defaultScope(route: NewRoute): number {
  if (route.family === 6) return RT_SCOPE.universe;
  const type = route.type ?? 'unicast';
  if (type === 'local' || type === 'nat') return RT_SCOPE.host;
  const direct = (route.next_hops ?? []).every((hop) => hop.gateway === undefined);
  const on_link = type === 'broadcast' || type === 'multicast' || type === 'anycast' || type === 'unicast';
  return on_link && direct ? RT_SCOPE.link : RT_SCOPE.universe;
}

function encodeRoute(
  writer: MessageWriter,
  route: NewRoute,
  default_scope: number,
  default_protocol: number,
  default_type: NonNullable<NewRoute['type']>,
): void {
  const destination = parsePrefix(route.prefix);
  const source = route.source === undefined ? undefined : parsePrefix(route.source);
  const table = route.table ?? RT_TABLE_MAIN;
  const hops = route.nexthop_id === undefined ? (route.next_hops ?? []) : [];
  const only = hops.length === 1 ? hops[0] : undefined;
  writer
    .u8(addressFamily(route.family))
    .u8(destination.length)
    .u8(source?.length ?? 0)
    .u8(route.tos ?? 0)
    .u8(table < 256 ? table : 0)
    .u8(route.protocol ?? default_protocol)
    .u8(route.scope ?? default_scope)
    .u8(ROUTE_TYPES.indexOf(route.type ?? default_type))
    .u32(only?.onlink ? RTNH_F_ONLINK : 0);
  if (destination.length > 0) writer.attribute(RTA.DST, destination.bytes);
  if (source) writer.attribute(RTA.SRC, source.bytes);
  writer.attributeU32(RTA.TABLE, table);
  if (route.metric) writer.attributeU32(RTA.PRIORITY, route.metric);
  if (route.prefsrc !== undefined) writer.attribute(RTA.PREFSRC, parseAddress(route.prefsrc, route.family));
  if (route.preference !== undefined) writer.attributeU8(RTA.PREF, route.preference);
  if (route.expires_s !== undefined) writer.attributeU32(RTA.EXPIRES, route.expires_s);
  if (route.nexthop_id !== undefined) writer.attributeU32(RTA.NH_ID, route.nexthop_id);
  encodeMetrics(writer, route);
  if (only) encodeSingleHop(writer, only, route.family);
  else if (hops.length > 1) encodeMultipath(writer, hops, route.family);
}

function encodeMetrics(writer: MessageWriter, route: NewRoute): void {
  const metrics = Object.entries(route.metrics ?? {}) as [RouteMetric, number][];
  if (metrics.length === 0 && route.congctl === undefined) return;
  writer.nested(RTA.METRICS, () => {
    for (const [name, value] of metrics) writer.attributeU32(ROUTE_METRICS[name], value);
    if (route.congctl !== undefined) writer.attributeText(RTAX_CC_ALGO, route.congctl);
  });
}

function encodeSingleHop(writer: MessageWriter, hop: NextHop, family: Family): void {
  encodeHop(writer, hop, family);
  if (hop.oif !== undefined) writer.attributeU32(RTA.OIF, hop.oif);
}

function encodeMultipath(writer: MessageWriter, hops: readonly NextHop[], family: Family): void {
  writer.nested(RTA.MULTIPATH, () => {
    for (const hop of hops)
      writer.sized(() => {
        writer
          .u8(hop.onlink ? RTNH_F_ONLINK : 0)
          .u8((hop.weight ?? 1) - 1)
          .u32(hop.oif ?? 0);
        encodeHop(writer, hop, family);
      });
  });
}

function encodeHop(writer: MessageWriter, hop: NextHop, family: Family): void {
  encodeGateway(writer, hop, family);
  if (hop.realm !== undefined) writer.attributeU32(RTA.FLOW, hop.realm);
  if (hop.encap === undefined) return;
  writer.attributeU16(RTA.ENCAP_TYPE, hop.encap.type);
  writer.attribute(RTA.ENCAP, Buffer.from(hop.encap.data, 'hex'));
}

function encodeNexthop(writer: MessageWriter, nexthop: NexthopObject): void {
  const { id, family, protocol = 0, hop, group, blackhole } = nexthop;
  writer
    .u8(family === undefined ? 0 : addressFamily(family))
    .u8(0)
    .u8(protocol)
    .u8(0)
    .u32(hop?.onlink ? RTNH_F_ONLINK : 0);
  writer.attributeU32(NHA.ID, id);
  if (blackhole) writer.attribute(NHA.BLACKHOLE, Buffer.alloc(0));
  if (group) writer.attribute(NHA.GROUP, encodeGroup(group));
  if (hop?.oif !== undefined) writer.attributeU32(NHA.OIF, hop.oif);
  if (hop?.gateway !== undefined) writer.attribute(NHA.GATEWAY, parseAddress(hop.gateway));
  if (hop?.encap === undefined) return;
  writer.attributeU16(NHA.ENCAP_TYPE, hop.encap.type);
  writer.attribute(NHA.ENCAP, Buffer.from(hop.encap.data, 'hex'));
}

function encodeGroup(group: NonNullable<NexthopObject['group']>): Buffer {
  const bytes = Buffer.alloc(group.length * 8);
  for (const [at, { id, weight }] of group.entries()) {
    bytes.writeUInt32LE(id, at * 8);
    bytes.writeUInt8(weight - 1, at * 8 + 4);
  }
  return bytes;
}

function encodeGateway(writer: MessageWriter, { gateway }: NextHop, family: Family): void {
  if (gateway === undefined) return;
  const gateway_family = familyOf(gateway);
  const bytes = parseAddress(gateway, gateway_family);
  if (gateway_family === family) {
    writer.attribute(RTA.GATEWAY, bytes);
    return;
  }
  const via = Buffer.alloc(2 + bytes.length);
  via.writeUInt16LE(addressFamily(gateway_family));
  bytes.copy(via, 2);
  writer.attribute(RTA.VIA, via);
}

function encodeNeighbour(writer: MessageWriter, neighbour: NewNeighbour): void {
  writer
    .u8(addressFamily(neighbour.family))
    .u8(0)
    .u16(0)
    .u32(neighbour.link)
    .u16(neighbour.state ?? NUD_PERMANENT)
    .u8(neighbour.flags ?? 0)
    .u8(0);
  writer.attribute(NDA.DST, parseAddress(neighbour.address, neighbour.family));
  if (neighbour.mac !== undefined) writer.attribute(NDA.LLADDR, parseMac(neighbour.mac));
  if (neighbour.protocol !== undefined) writer.attributeU8(NDA.PROTOCOL, neighbour.protocol);
}

function encodeRule(writer: MessageWriter, rule: NewRule): void {
  const source = rule.source === undefined ? undefined : parsePrefix(rule.source);
  const destination = rule.destination === undefined ? undefined : parsePrefix(rule.destination);
  const table = rule.table ?? 0;
  writer
    .u8(addressFamily(rule.family))
    .u8(destination?.length ?? 0)
    .u8(source?.length ?? 0)
    .u8(rule.tos ?? 0)
    .u8(table < 256 ? table : 0)
    .u16(0)
    .u8(rule.action ?? FR_ACT_TO_TBL)
    .u32(rule.invert ? FIB_RULE_INVERT : 0);
  writer.attributeU32(FRA.PRIORITY, rule.priority);
  if (table) writer.attributeU32(FRA.TABLE, table);
  if (source) writer.attribute(FRA.SRC, source.bytes);
  if (destination) writer.attribute(FRA.DST, destination.bytes);
  if (rule.iif !== undefined) writer.attributeText(FRA.IIFNAME, rule.iif);
  if (rule.oif !== undefined) writer.attributeText(FRA.OIFNAME, rule.oif);
  if (rule.fwmark !== undefined) writer.attributeU32(FRA.FWMARK, rule.fwmark);
  if (rule.fwmask !== undefined) writer.attributeU32(FRA.FWMASK, rule.fwmask);
  if (rule.goto !== undefined) writer.attributeU32(FRA.GOTO, rule.goto);
  if (rule.suppress_prefixlength !== undefined)
    writer.attributeU32(FRA.SUPPRESS_PREFIXLEN, rule.suppress_prefixlength);
  if (rule.l3mdev) writer.attributeU8(FRA.L3MDEV, 1);
  if (rule.protocol !== undefined) writer.attributeU8(FRA.PROTOCOL, rule.protocol);
  if (rule.ip_protocol !== undefined) writer.attributeU8(FRA.IP_PROTO, rule.ip_protocol);
}

/** The object of a change in words, for errors and logs. */
export function describeChange(change: NetworkChange): string {
  switch (change.do) {
    case 'set_link': {
      const { do: _, link, ...to } = change;
      return `link ${link} ${JSON.stringify(to)}`;
    }
    case 'move_link':
      return `link ${change.link} to ${change.netns}`;
    case 'set_vf':
      return `virtual function ${change.vf} of link ${change.link}`;
    case 'add_link':
      return `${change.link.kind} ${change.link.name}`;
    case 'delete_link':
      return `link ${change.link}`;
    case 'add_altname':
    case 'delete_altname':
      return `${change.altname} of link ${change.link}`;
    case 'add_address':
    case 'replace_address':
    case 'delete_address':
      return `${change.address.prefix} on link ${change.address.link}`;
    case 'add_route':
    case 'append_route':
    case 'prepend_route':
    case 'replace_route':
    case 'delete_route':
      return describeRoute(change.route);
    case 'set_nexthop':
      return `nexthop ${change.nexthop.id}`;
    case 'set_neighbour':
    case 'delete_neighbour':
    case 'probe_neighbour':
      return `${change.neighbour.address} on link ${change.neighbour.link}`;
    case 'add_rule':
    case 'delete_rule':
      return `IPv${change.rule.family} rule ${change.rule.priority}`;
  }
}

function describeRoute(route: NewRoute): string {
  const hops = (route.next_hops ?? []).map(
    ({ gateway, oif }) => `${gateway === undefined ? '' : ` via ${gateway}`} link ${oif ?? '?'}`,
  );
  return `${route.prefix}${hops.join(',')} table ${route.table ?? RT_TABLE_MAIN} metric ${route.metric ?? 0}`;
}

/** Headers of the dump requests: as long as the kernel's strict checking wants them. `flags`: of neighbours alone. */
export function encodeDumpHeader(
  writer: MessageWriter,
  type: number,
  family: number,
  link: number,
  flags = 0,
): void {
  switch (type) {
    case RTM.GETLINK:
      encodeLinkHeader(writer, 0, 0, 0);
      break;
    case RTM.GETADDR:
      writer.u8(family).u8(0).u8(0).u8(0).u32(link);
      break;
    case RTM.GETNEXTHOP:
      writer.u8(family).u8(0).u16(0).u32(0);
      break;
    default:
      // rtmsg, ndmsg and fib_rule_hdr are twelve bytes that begin with the family; the flags of ndmsg are the eleventh.
      writer.u8(family).u8(0).u16(0).u32(0).u16(0).u8(flags).u8(0);
  }
}
