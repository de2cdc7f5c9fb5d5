/** Numbers of `linux/rtnetlink.h`, `if_link.h`, `if_addr.h`, `neighbour.h`, `fib_rules.h`. Append-only in the kernel. */

import type { Family } from '../../ip/text.js';
import type { RouteMetric, RouteType } from '../../linux/network.js';

export const AF_INET = 2;
export const AF_INET6 = 10;

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
  NEWNEXTHOP: 104,
  GETNEXTHOP: 106,
  NEWLINKPROP: 108,
  DELLINKPROP: 109,
} as const;

/** Bits of the multicast groups that a socket can bind to. */
export const GROUP = {
  LINK: 1 << 0,
  NEIGH: 1 << 2,
  IPV4_IFADDR: 1 << 4,
  IPV4_ROUTE: 1 << 6,
  IPV6_IFADDR: 1 << 8,
  IPV6_ROUTE: 1 << 10,
} as const;

export const IFF_UP = 0x1;
export const IFF_RUNNING = 0x40;
export const IFF_PROMISC = 0x100;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  QDISC: 6,
  MASTER: 10,
  TXQLEN: 13,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  PROMISCUITY: 30,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  CARRIER: 33,
  PHYS_PORT_ID: 34,
  LINK_NETNSID: 37,
  VFINFO_LIST: 22,
  XDP: 43,
  PROP_LIST: 52,
  ALT_IFNAME: 53,
  PERM_ADDRESS: 54,
  PARENT_DEV_NAME: 56,
} as const;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
export const VETH_INFO_PEER = 1;
export const IFLA_VLAN_ID = 1;
export const IFLA_VXLAN_LINK = 3;
export const IFLA_MACVLAN_MODE = 1;
export const MACVLAN_MODE_BRIDGE = 4;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const IFLA_XDP_FD = 1;
export const IFLA_XDP_ATTACHED = 2;
/** Leaves the counters out of a link, which are most of its bytes. */
export const RTEXT_FILTER_SKIP_STATS = 8;

export const IFA = {
  ADDRESS: 1,
  LOCAL: 2,
  LABEL: 3,
  BROADCAST: 4,
  CACHEINFO: 6,
  FLAGS: 8,
  RT_PRIORITY: 9,
  PROTO: 11,
} as const;
export const FOREVER = 0xffff_ffff;

export const RTA = {
  DST: 1,
  SRC: 2,
  IIF: 3,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  FLOW: 11,
  CACHEINFO: 12,
  TABLE: 15,
  VIA: 18,
  PREF: 20,
  ENCAP_TYPE: 21,
  ENCAP: 22,
  EXPIRES: 23,
  PAD: 24,
  UID: 25,
  TTL_PROPAGATE: 26,
  NH_ID: 30,
} as const;
/** `LWTUNNEL_ENCAP_*` whose attributes are taken as they are shown: MPLS, IP, IP6, SEG6. */
export const PORTABLE_ENCAPS: readonly number[] = [1, 2, 4, 5];
/** Of nexthop objects. */
export const NHA = {
  ID: 1,
  GROUP: 2,
  GROUP_TYPE: 3,
  BLACKHOLE: 4,
  OIF: 5,
  GATEWAY: 6,
  ENCAP_TYPE: 7,
  ENCAP: 8,
  FDB: 11,
  RES_GROUP: 12,
  OP_FLAGS: 14,
} as const;
export const RTAX_CC_ALGO = 16;
export const RTNH_F_ONLINK = 4;
export const RTM_F_CLONED = 0x200;
export const RT_TABLE_MAIN = 254;
export const RTPROT_BOOT = 3;
export const RT_SCOPE = { universe: 0, link: 253, host: 254, nowhere: 255 } as const;
/** `rta_cacheinfo` counts in ticks of user space, 100 a second on every Linux. */
export const USER_HZ = 100;

export const NDA = { DST: 1, LLADDR: 2, PROTOCOL: 12 } as const;
export const NTF_PROXY = 0x08;
export const IFA_F_PERMANENT = 0x80;
export const IFA_F_DEPRECATED = 0x20;
export const NUD_PROBE = 0x10;
export const NUD_PERMANENT = 0x80;

export const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  GOTO: 4,
  PRIORITY: 6,
  FWMARK: 10,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  L3MDEV: 19,
  PROTOCOL: 21,
  IP_PROTO: 22,
} as const;
export const FIB_RULE_INVERT = 2;
export const FR_ACT_TO_TBL = 1;

/** By number: the index is `RTN_*`. */
export const ROUTE_TYPES: readonly RouteType[] = [
  'unspec',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
  'nat',
  'xresolve',
];

/** By name: `RTAX_*`. */
export const ROUTE_METRICS: Readonly<Record<RouteMetric, number>> = {
  lock: 1,
  mtu: 2,
  window: 3,
  rtt: 4,
  rttvar: 5,
  ssthresh: 6,
  cwnd: 7,
  advmss: 8,
  reordering: 9,
  hoplimit: 10,
  initcwnd: 11,
  features: 12,
  rto_min: 13,
  initrwnd: 14,
  quickack: 15,
  fastopen_no_cookie: 17,
};

export function addressFamily(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** Undefined for families that are not IP (bridge, MPLS, the IPv4 multicast tables). */
export function familyOfNumber(number: number): Family | undefined {
  return number === AF_INET ? 4 : number === AF_INET6 ? 6 : undefined;
}
