import type { Family } from '../../ip/text.js';
import { formatAddress, formatMac } from '../../ip/text.js';
import type {
  Address,
  Link,
  Neighbour,
  NextHop,
  NexthopObject,
  Route,
  RouteMetric,
  Rule,
} from '../../linux/network.js';
import { Attributes, attributesOf } from './netlink-message.js';
import {
  AF_INET6,
  FIB_RULE_INVERT,
  FOREVER,
  FRA,
  familyOfNumber,
  IFA,
  IFA_F_DEPRECATED,
  IFA_F_PERMANENT,
  IFF_PROMISC,
  IFF_RUNNING,
  IFF_UP,
  IFLA,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_VXLAN_LINK,
  IFLA_XDP_ATTACHED,
  NDA,
  NHA,
  PORTABLE_ENCAPS,
  ROUTE_METRICS,
  ROUTE_TYPES,
  RTA,
  RTAX_CC_ALGO,
  RTNH_F_ONLINK,
  USER_HZ,
} from './rtnetlink-constants.js';

/** From the payloads of RTM_NEW* and RTM_DEL* messages to plain data. Undefined for a family that is not IP. */

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `struct ifinfomsg`: family u8, pad u8, type u16, index i32, flags u32, change u32. */
export function decodeLink(payload: Buffer): Link {
  const flags = payload.readUInt32LE(8);
  const attributes = new Attributes(payload.subarray(16));
  const kind = attributes.nested(IFLA.LINKINFO)?.text(IFLA_INFO_KIND);
  const mac = attributes.bytes(IFLA.ADDRESS);
  const permanent = attributes.bytes(IFLA.PERM_ADDRESS);
  const properties = attributes.bytes(IFLA.PROP_LIST);
  const kind_data = attributes.nested(IFLA.LINKINFO)?.nested(IFLA_INFO_DATA);
  const lower = kind === 'vxlan' ? kind_data?.u32(IFLA_VXLAN_LINK) : undefined;
  const addrgen_mode = attributes.nested(IFLA.AF_SPEC)?.nested(AF_INET6)?.u8(IFLA_INET6_ADDR_GEN_MODE);
  return defined<Link>({
    index: payload.readInt32LE(4),
    name: attributes.text(IFLA.IFNAME) ?? '',
    kind,
    mac: mac?.length === 6 ? formatMac(mac) : undefined,
    permanent_mac: permanent?.length === 6 ? formatMac(permanent) : undefined,
    mtu: attributes.u32(IFLA.MTU) ?? 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_RUNNING) !== 0,
    carrier: attributes.u8(IFLA.CARRIER) === 1,
    promiscuity: attributes.u32(IFLA.PROMISCUITY) ?? 0,
    promisc: (flags & IFF_PROMISC) !== 0,
    rx_queues: attributes.u32(IFLA.NUM_RX_QUEUES) ?? 1,
    tx_queues: attributes.u32(IFLA.NUM_TX_QUEUES) ?? 1,
    master: attributes.u32(IFLA.MASTER),
    link: attributes.u32(IFLA.LINK) || lower || undefined,
    link_netnsid: attributes.u32(IFLA.LINK_NETNSID),
    flags,
    type: payload.readUInt16LE(2),
    altnames: properties ? [...attributesOf(properties)].flatMap(alternativeName) : [],
    qdisc: attributes.text(IFLA.QDISC),
    txqlen: attributes.u32(IFLA.TXQLEN) ?? 0,
    group: attributes.u32(IFLA.GROUP) || undefined,
    alias: attributes.text(IFLA.IFALIAS) || undefined,
    addrgen_mode,
    xdp: attributes.nested(IFLA.XDP)?.u8(IFLA_XDP_ATTACHED) ? true : undefined,
    parent_device: attributes.text(IFLA.PARENT_DEV_NAME),
    port_id: attributes.bytes(IFLA.PHYS_PORT_ID)?.toString('hex'),
  });
}

function alternativeName([type, value]: [number, Buffer]): string[] {
  return type === IFLA.ALT_IFNAME ? [value.toString('utf8').replace(/\0.*$/s, '')] : [];
}

/** `struct ifaddrmsg`: family, prefix length, flags, scope (u8 each), index u32. */
export function decodeAddress(payload: Buffer): Address | undefined {
  const family = familyOfNumber(payload.readUInt8(0));
  if (!family) return undefined;
  const attributes = new Attributes(payload.subarray(8));
  const far = attributes.bytes(IFA.ADDRESS);
  // IPv4 always names both ends, equal without a peer; IPv6 names the local one only with a peer.
  const near = attributes.bytes(IFA.LOCAL) ?? far;
  if (!near || !far) return undefined;
  const broadcast = attributes.bytes(IFA.BROADCAST);
  const lifetimes = attributes.bytes(IFA.CACHEINFO);
  const flags = attributes.u32(IFA.FLAGS) ?? payload.readUInt8(2);
  // Of an IPv4 address that lasts for ever the kernel shows no lifetime, deprecated or not.
  const deprecated = (flags & IFA_F_PERMANENT) !== 0 && (flags & IFA_F_DEPRECATED) !== 0;
  return defined<Address>({
    link: payload.readUInt32LE(4),
    family,
    prefix: `${formatAddress(near)}/${payload.readUInt8(1)}`,
    peer: near.equals(far) ? undefined : formatAddress(far),
    broadcast: broadcast && formatAddress(broadcast),
    label: attributes.text(IFA.LABEL),
    scope: payload.readUInt8(3),
    flags,
    valid_s: lifetimes && lifetime(lifetimes.readUInt32LE(4)),
    preferred_s: deprecated ? 0 : lifetimes && lifetime(lifetimes.readUInt32LE(0)),
    metric: attributes.u32(IFA.RT_PRIORITY),
    protocol: attributes.u8(IFA.PROTO),
  });
}

function lifetime(seconds: number): number | undefined {
  return seconds === FOREVER ? undefined : seconds;
}

const METRIC_NAMES = new Map(
  Object.entries(ROUTE_METRICS).map(([name, number]) => [number, name as RouteMetric]),
);

/** Attributes of a route that NewRoute has fields for, or that say nothing about it; any other is told by its name. */
const ROUTE_FIELDS = new Set<number>(Object.values(RTA));
ROUTE_FIELDS.delete(RTA.TTL_PROPAGATE);
const ROUTE_ATTRIBUTE_NAMES = new Map<number, string>([[RTA.TTL_PROPAGATE, 'ttl-propagate']]);

/**
 * `struct rtmsg`: family, dst_len, src_len, tos, table, protocol, scope, type (u8 each), flags u32.
 * RTA_TABLE holds the tables that u8 cannot.
 */
export function decodeRoute(payload: Buffer): Route | undefined {
  const family = familyOfNumber(payload.readUInt8(0));
  if (!family) return undefined;
  const attributes = new Attributes(payload.subarray(12));
  const flags = payload.readUInt32LE(8);
  const next_hops = decodeNextHops(attributes, flags, family);
  const source = attributes.bytes(RTA.SRC);
  const prefsrc = attributes.bytes(RTA.PREFSRC);
  const metrics = attributes.nested(RTA.METRICS);
  const unsupported = [...attributes.types()]
    .filter((type) => !ROUTE_FIELDS.has(type))
    .map((type) => ROUTE_ATTRIBUTE_NAMES.get(type) ?? `attribute ${type}`);
  const strange = next_hops.find(({ encap }) => encap && !PORTABLE_ENCAPS.includes(encap.type));
  if (strange) unsupported.push(`encapsulation ${strange.encap?.type}`);
  return defined<Route>({
    family,
    prefix: prefixText(attributes.bytes(RTA.DST), payload.readUInt8(1), family),
    table: attributes.u32(RTA.TABLE) ?? payload.readUInt8(4),
    type: ROUTE_TYPES[payload.readUInt8(7)] ?? 'unspec',
    protocol: payload.readUInt8(5),
    scope: payload.readUInt8(6),
    metric: attributes.u32(RTA.PRIORITY) ?? 0,
    tos: payload.readUInt8(3) || undefined,
    source: source && prefixText(source, payload.readUInt8(2), family),
    prefsrc: prefsrc && formatAddress(prefsrc),
    next_hops,
    metrics: metrics && decodeMetrics(metrics),
    congctl: metrics?.text(RTAX_CC_ALGO),
    preference: attributes.u8(RTA.PREF) || undefined,
    expires_s: decodeExpiry(attributes),
    flags: flags || undefined,
    nexthop_id: attributes.u32(RTA.NH_ID),
    unsupported: unsupported.length > 0 ? unsupported : undefined,
  });
}

function prefixText(bytes: Buffer | undefined, length: number, family: Family): string {
  return bytes ? `${formatAddress(bytes)}/${length}` : family === 4 ? '0.0.0.0/0' : '::/0';
}

/** `struct rtnexthop`: length u16, flags u8, weight - 1 u8, index i32, then attributes. */
function decodeNextHops(route: Attributes, route_flags: number, family: Family): NextHop[] {
  const multipath = route.bytes(RTA.MULTIPATH);
  if (!multipath) {
    const oif = route.u32(RTA.OIF);
    const hop = decodeHop(route, oif, route_flags & 0xff, 1, family);
    return hop.oif === undefined && hop.gateway === undefined ? [] : [hop];
  }
  const hops: NextHop[] = [];
  for (let at = 0; at + 8 <= multipath.length; ) {
    const length = multipath.readUInt16LE(at);
    if (length < 8 || at + length > multipath.length)
      throw new RangeError(`next hop with bad length ${length}`);
    const attributes = new Attributes(multipath.subarray(at + 8, at + length));
    const weight = multipath.readUInt8(at + 3) + 1;
    hops.push(
      decodeHop(attributes, multipath.readInt32LE(at + 4), multipath.readUInt8(at + 2), weight, family),
    );
    at += (length + 3) & ~3;
  }
  return hops;
}

function decodeHop(
  attributes: Attributes,
  oif: number | undefined,
  flags: number,
  weight: number,
  family: Family,
): NextHop {
  const gateway = attributes.bytes(RTA.GATEWAY);
  // `struct rtvia`: family u16, address: a gateway of the other family.
  const via = attributes.bytes(RTA.VIA)?.subarray(2);
  const usable = gateway?.length === (family === 4 ? 4 : 16) ? gateway : via;
  return defined<NextHop>({
    oif,
    gateway: usable && formatAddress(usable),
    onlink: flags & RTNH_F_ONLINK ? true : undefined,
    weight: weight === 1 ? undefined : weight,
    flags: flags & ~RTNH_F_ONLINK || undefined,
    realm: attributes.u32(RTA.FLOW) || undefined,
    encap: decodeEncap(attributes.u16(RTA.ENCAP_TYPE), attributes.bytes(RTA.ENCAP)),
  });
}

function decodeEncap(type: number | undefined, data: Buffer | undefined): NextHop['encap'] | undefined {
  return type === undefined && data === undefined
    ? undefined
    : { type: type ?? 0, data: data?.toString('hex') ?? '' };
}

function decodeMetrics(attributes: Attributes): Route['metrics'] {
  const metrics: Mutable<NonNullable<Route['metrics']>> = {};
  let any = false;
  for (const type of attributes.types()) {
    const name = METRIC_NAMES.get(type);
    const value = name && attributes.u32(type);
    if (name === undefined || value === undefined) continue;
    metrics[name] = value;
    any = true;
  }
  return any ? metrics : undefined;
}

/** `struct rta_cacheinfo`: clntref u32, lastuse u32, expires i32 in ticks, error, used, id, ts, tsage. */
function decodeExpiry(attributes: Attributes): number | undefined {
  const cache = attributes.bytes(RTA.CACHEINFO);
  const ticks = cache && cache.length >= 12 ? cache.readInt32LE(8) : 0;
  return ticks > 0 ? Math.ceil(ticks / USER_HZ) : undefined;
}

/** `struct ndmsg`: family u8, pad 3, index i32, state u16, flags u8, type u8. */
export function decodeNeighbour(payload: Buffer): Neighbour | undefined {
  const family = familyOfNumber(payload.readUInt8(0));
  const attributes = new Attributes(payload.subarray(12));
  const address = attributes.bytes(NDA.DST);
  if (!family || !address) return undefined;
  const mac = attributes.bytes(NDA.LLADDR);
  return defined<Neighbour>({
    link: payload.readInt32LE(4),
    family,
    address: formatAddress(address),
    mac: mac?.length === 6 ? formatMac(mac) : undefined,
    state: payload.readUInt16LE(8),
    flags: payload.readUInt8(10),
    protocol: attributes.u8(NDA.PROTOCOL) || undefined,
  });
}

const NEXTHOP_FIELDS = new Set<number>(Object.values(NHA));
const NEXTHOP_GROUP_MULTIPATH = 0;

/** `struct nhmsg`: family, scope, protocol, reserved (u8 each), flags u32. */
export function decodeNexthop(payload: Buffer): NexthopObject | undefined {
  const attributes = new Attributes(payload.subarray(8));
  const id = attributes.u32(NHA.ID);
  if (id === undefined) return undefined;
  const family = familyOfNumber(payload.readUInt8(0));
  const members = attributes.bytes(NHA.GROUP);
  const blackhole = attributes.bytes(NHA.BLACKHOLE) !== undefined;
  const gateway = attributes.bytes(NHA.GATEWAY);
  const encap = decodeEncap(attributes.u16(NHA.ENCAP_TYPE), attributes.bytes(NHA.ENCAP));
  const flags = payload.readUInt32LE(4) & 0xff;
  const hop = defined<NextHop>({
    oif: attributes.u32(NHA.OIF),
    gateway: gateway && formatAddress(gateway),
    onlink: flags & RTNH_F_ONLINK ? true : undefined,
    flags: flags & ~RTNH_F_ONLINK || undefined,
    encap,
  });
  const unsupported = [...attributes.types()]
    .filter((type) => !NEXTHOP_FIELDS.has(type))
    .map((type) => `attribute ${type}`);
  if ((attributes.u16(NHA.GROUP_TYPE) ?? NEXTHOP_GROUP_MULTIPATH) !== NEXTHOP_GROUP_MULTIPATH)
    unsupported.push('resilient');
  if (attributes.bytes(NHA.FDB)) unsupported.push('fdb');
  if (encap && !PORTABLE_ENCAPS.includes(encap.type)) unsupported.push(`encapsulation ${encap.type}`);
  return defined<NexthopObject>({
    id,
    family,
    protocol: payload.readUInt8(2) || undefined,
    hop: members || blackhole ? undefined : hop,
    blackhole: blackhole || undefined,
    group: members && decodeGroup(members),
    unsupported: unsupported.length > 0 ? unsupported : undefined,
  });
}

/** Of `struct nexthop_grp`: id u32, weight - 1 u8, the upper half of the weight u8, reserved u16. */
function decodeGroup(bytes: Buffer): NexthopObject['group'] {
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, at) => ({
    id: bytes.readUInt32LE(at * 8),
    weight: bytes.readUInt8(at * 8 + 4) + 1,
  }));
}

const RULE_FIELDS = new Set<number>(Object.values(FRA));
const FRA_PAD = 18;
const FRA_SUPPRESS_IFGROUP = 13;

/** `struct fib_rule_hdr`: family, dst_len, src_len, tos, table, res1, res2, action (u8 each), flags u32. */
export function decodeRule(payload: Buffer): Rule | undefined {
  const family = familyOfNumber(payload.readUInt8(0));
  if (!family) return undefined;
  const attributes = new Attributes(payload.subarray(12));
  const source = attributes.bytes(FRA.SRC);
  const destination = attributes.bytes(FRA.DST);
  const suppress = attributes.u32(FRA.SUPPRESS_PREFIXLEN);
  const fwmark = attributes.u32(FRA.FWMARK);
  const unsupported = [...attributes.types()]
    .filter((type) => !RULE_FIELDS.has(type) && type !== FRA_PAD)
    // The kernel writes "none" for this one.
    .filter((type) => type !== FRA_SUPPRESS_IFGROUP || attributes.u32(type) !== FOREVER)
    .map((type) => `attribute ${type}`);
  return defined<Rule>({
    family,
    priority: attributes.u32(FRA.PRIORITY) ?? 0,
    action: payload.readUInt8(7),
    table: attributes.u32(FRA.TABLE) ?? payload.readUInt8(4),
    source: source && prefixText(source, payload.readUInt8(2), family),
    destination: destination && prefixText(destination, payload.readUInt8(1), family),
    iif: attributes.text(FRA.IIFNAME),
    oif: attributes.text(FRA.OIFNAME),
    fwmark,
    fwmask: fwmark === undefined ? undefined : attributes.u32(FRA.FWMASK),
    tos: payload.readUInt8(3) || undefined,
    invert: payload.readUInt32LE(8) & FIB_RULE_INVERT ? true : undefined,
    goto: attributes.u32(FRA.GOTO),
    suppress_prefixlength: suppress === FOREVER ? undefined : suppress,
    l3mdev: attributes.u8(FRA.L3MDEV) ? true : undefined,
    protocol: attributes.u8(FRA.PROTOCOL),
    ip_protocol: attributes.u8(FRA.IP_PROTO),
    unsupported: unsupported.length > 0 ? unsupported : undefined,
  });
}

/** Drops the fields that are undefined: the types here say "absent", and two records compare equal as they look. */
function defined<T extends object>(
  value: { [K in keyof T]: object extends Pick<T, K> ? T[K] | undefined : T[K] },
): T {
  for (const key of Object.keys(value) as (keyof T)[]) if (value[key] === undefined) delete value[key];
  return value as T;
}
