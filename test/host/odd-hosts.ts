/**
 * Hosts as people have them, as data: what an administrator, a DHCP client or a routing daemon may have done to the namespace
 * with the uplink `eth0` (and to that of its other end, `peer0`). A line is a command of `ip`, or `sysctl PATH VALUE`, or
 * `tc …`; `eth1` and `eth2` are further links with a carrier.
 */

export interface OddHost {
  readonly name: string;
  readonly setup: readonly string[];
  readonly peer?: readonly string[];
  /** Link kinds that not every kernel has. */
  readonly needs?: readonly string[];
  /** Of the uplinks; `eth0` when absent. */
  readonly uplinks?: readonly string[];
  /** The uplink is not taken over: what the refusal says. */
  readonly refused?: RegExp;
  /** Destinations of routes that an earlier node has left on the uplink: they are gone for good. */
  readonly leftovers?: readonly string[];
  /** Flags of addresses that no program can give an address; it is there without. */
  readonly lost_flags?: readonly string[];
}

const ip4 = 'addr add 10.0.0.2/24 dev eth0';
const ip6 = 'addr add 2001:db8::2/64 dev eth0 nodad';
const default4 = 'route add default via 10.0.0.1';
const default6 = '-6 route add default via fe80::1 dev eth0';
const both = [ip4, ip6];
const plain = [...both, default4, default6];
const conf = (family: 4 | 6, name: string, value: string | number): string =>
  `sysctl net/ipv${family}/conf/eth0/${name} ${value}`;
const eth1 = 'addr add 192.168.7.1/24 dev eth1';

export const odd_hosts: readonly OddHost[] = [
  { name: 'both families', setup: plain },

  // Addresses.
  {
    name: 'secondary IPv4 addresses with labels and broadcasts',
    setup: [
      'addr add 10.0.0.2/24 brd + dev eth0',
      'addr add 10.0.0.3/24 dev eth0 label eth0:1',
      'addr add 10.1.0.2/16 brd 10.1.255.255 dev eth0',
      'addr add 10.0.0.4/24 dev eth0',
      default4,
    ],
  },
  {
    name: 'several IPv6 addresses, which the kernel lists newest first',
    setup: [
      ...both,
      'addr add 2001:db8::3/64 dev eth0 nodad',
      'addr add 2001:db8:1::2/64 dev eth0 nodad',
      default4,
      default6,
    ],
  },
  {
    name: 'an address alone in its prefix, a gateway on the link',
    setup: ['addr add 10.0.0.2/32 dev eth0', 'route add 10.0.0.1 dev eth0 scope link', default4],
  },
  {
    name: 'a gateway with onlink',
    setup: ['addr add 10.0.0.2/32 dev eth0', 'route add default via 10.0.0.1 dev eth0 onlink'],
  },
  {
    name: 'IPv6 /128 and a route to the gateway',
    setup: [
      ip4,
      'addr add 2001:db8::2/128 dev eth0 nodad',
      '-6 route add 2001:db8::1 dev eth0',
      '-6 route add default via 2001:db8::1 dev eth0',
    ],
  },
  { name: 'a point-to-point address', setup: ['addr add 10.0.0.2 peer 10.0.0.1/32 dev eth0', default4] },
  {
    name: 'prefix routes of the DHCP client in place of those of the kernel',
    setup: [
      'addr add 10.0.0.2/24 dev eth0 noprefixroute',
      'route add 10.0.0.0/24 dev eth0 proto dhcp scope link src 10.0.0.2 metric 1024',
      'route add default via 10.0.0.1 proto dhcp src 10.0.0.2 metric 1024',
      'addr add 2001:db8::2/64 dev eth0 noprefixroute nodad',
      '-6 route add 2001:db8::/64 dev eth0 proto ra metric 1024',
      '-6 route add default via fe80::1 dev eth0 proto ra metric 1024',
    ],
  },
  {
    name: 'leased addresses',
    setup: [
      'addr add 10.0.0.2/24 dev eth0 valid_lft 3600 preferred_lft 1800',
      'addr add 2001:db8::2/64 dev eth0 valid_lft 3600 preferred_lft 1800 nodad',
      default4,
      default6,
    ],
  },
  {
    name: 'deprecated addresses',
    setup: [
      ...both,
      'addr add 2001:db8::8/64 dev eth0 preferred_lft 0 nodad',
      'addr add 10.0.0.8/24 dev eth0 preferred_lft 0',
      default4,
      default6,
    ],
  },
  {
    name: 'deprecated and leased addresses',
    setup: [
      ...both,
      'addr add 2001:db8::8/64 dev eth0 valid_lft 3600 preferred_lft 0 nodad',
      'addr add 10.0.0.8/24 dev eth0 valid_lft 3600 preferred_lft 0',
      default4,
      default6,
    ],
  },
  {
    name: 'addresses of a home agent, without a temporary one yet',
    setup: [
      ...both,
      'addr add 2001:db8:4::2/64 dev eth0 mngtmpaddr nodad',
      'addr add 2001:db8:5::2/64 dev eth0 home nodad',
      default4,
      default6,
    ],
  },
  {
    name: 'multicast groups joined by addresses',
    setup: [...plain, 'addr add 239.1.2.3/32 dev eth0 autojoin', 'addr add ff0e::1234/128 dev eth0 autojoin'],
  },
  {
    name: 'no link-local address',
    setup: [
      'link set eth0 down',
      'link set eth0 addrgenmode none',
      'link set eth0 up',
      ...both,
      default4,
      '-6 route add default via 2001:db8::1 dev eth0',
    ],
  },
  {
    name: 'a link-local address of its own',
    setup: [
      'link set eth0 down',
      'link set eth0 addrgenmode none',
      'link set eth0 up',
      'addr add fe80::abcd/64 dev eth0 nodad',
      ...plain,
    ],
  },
  { name: 'two link-local addresses', setup: ['addr add fe80::abcd/64 dev eth0 nodad', ...plain] },
  {
    name: 'a link-local address that was deleted',
    setup: [
      ...plain,
      '-6 addr flush dev eth0 scope link',
      '-6 route add default via 2001:db8::1 dev eth0 metric 99',
    ],
  },
  { name: 'IPv6 off', setup: [conf(6, 'disable_ipv6', 1), ip4, default4] },
  {
    name: 'an address that lo has as well',
    setup: [
      ...plain,
      'addr add 10.0.0.2/32 dev lo',
      'addr add 2001:db8::2/128 dev lo nodad',
      'addr add 198.51.100.7/32 dev lo',
      'addr add 2001:db8:77::7/128 dev lo nodad',
    ],
  },
  {
    name: 'addresses with prefix metrics',
    setup: [
      'addr add 10.0.0.2/24 dev eth0 metric 77',
      'addr add 2001:db8::2/64 dev eth0 nodad metric 78',
      default4,
      default6,
    ],
  },
  {
    name: 'a connected route that was deleted',
    setup: [
      ...both,
      default4,
      'route del 10.0.0.0/24 dev eth0',
      'route add 10.0.0.0/25 dev eth0 src 10.0.0.2',
      '-6 route del 2001:db8::/64 dev eth0',
    ],
  },
  {
    name: 'a connected route that was replaced',
    setup: [
      ...both,
      'route replace 10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2 mtu 1400',
      default4,
      default6,
    ],
  },

  // Routes.
  {
    name: 'route metrics and preferences',
    setup: [
      ...both,
      'route add default via 10.0.0.1 mtu lock 1400 advmss 1300 initcwnd 20 initrwnd 30 hoplimit 33 quickack 1 rto_min 50ms congctl reno',
      '-6 route add default via fe80::1 dev eth0 mtu 1400 hoplimit 7 pref high',
    ],
  },
  {
    name: 'one prefix with different metrics',
    setup: [
      ...both,
      'route add default via 10.0.0.1 metric 100',
      'route add default via 10.0.0.5 metric 200',
      'route add 10.9.0.0/16 via 10.0.0.5 metric 7',
    ],
  },
  {
    name: 'equal IPv4 routes in their order',
    setup: [
      ...both,
      default4,
      'route append 10.9.0.0/16 via 10.0.0.5',
      'route append 10.9.0.0/16 via 10.0.0.6',
      'route append 10.9.0.0/16 via 10.0.0.4',
    ],
  },
  {
    name: 'IPv4 over several gateways',
    setup: [...both, 'route add default nexthop via 10.0.0.1 weight 3 nexthop via 10.0.0.5 weight 2'],
  },
  {
    name: 'IPv6 over several gateways',
    setup: [
      ...both,
      default4,
      '-6 route add default proto static nexthop via fe80::1 dev eth0 weight 2 nexthop via fe80::2 dev eth0',
    ],
  },
  {
    name: 'two routers that advertise themselves',
    setup: [
      ...both,
      default4,
      '-6 route add default via fe80::1 dev eth0 proto ra metric 1024 expires 1800 pref medium',
      '-6 route append default via fe80::2 dev eth0 proto ra metric 1024 expires 1800',
    ],
  },
  { name: 'IPv4 over an IPv6 gateway', setup: [...both, 'route add default via inet6 fe80::1 dev eth0'] },
  {
    name: 'routes that drop and reject',
    setup: [
      ...plain,
      'route add blackhole 10.66.0.0/16',
      'route add unreachable 10.67.0.0/16 metric 5',
      'route add prohibit 10.68.0.0/16',
      'route add throw 10.69.0.0/16 table 100',
      '-6 route add blackhole 2001:db8:66::/48',
      '-6 route add unreachable default metric 4294967295',
    ],
  },
  {
    name: 'preferred source addresses',
    setup: [
      ...both,
      'addr add 10.0.0.9/32 dev eth0',
      'route add default via 10.0.0.1 src 10.0.0.9',
      'route add 10.7.0.0/16 via 10.0.0.1 src 10.0.0.2',
    ],
  },
  {
    name: 'routes of IPv6 that expire, with more specific ones of the router',
    setup: [
      ...both,
      'route add default via 10.0.0.1 proto dhcp',
      '-6 route add default via fe80::1 dev eth0 proto ra expires 1200 pref low',
      '-6 route add 2001:db8:aa::/48 via fe80::1 dev eth0 proto ra expires 600 pref high',
    ],
  },
  {
    name: 'hundreds of IPv6 routes',
    setup: [
      'addr add 2001:db8::2/64 dev eth0 nodad',
      '-6 route add default via fe80::1 dev eth0 metric 50',
      ...Array.from({ length: 200 }, (_, n) => `-6 route add 2001:db8:f:${n + 1}::/64 via fe80::1 dev eth0`),
    ],
  },
  {
    name: 'a route by source',
    setup: [
      ...both,
      default4,
      '-6 route add default from 2001:db8::/64 via fe80::1 dev eth0',
      '-6 route add default via fe80::1 dev eth0 metric 2000',
    ],
  },
  {
    name: 'broadcast and anycast routes',
    setup: [
      ...plain,
      'route add broadcast 10.55.255.255 dev eth0 table local',
      '-6 route add anycast 2001:db8::ffff dev eth0 table local',
    ],
  },
  {
    name: 'routes by type of service, in tables of their own, chosen by rules',
    setup: [
      ...plain,
      'route add 10.9.0.0/16 via 10.0.0.5 tos 0x10',
      'route add 10.9.0.0/16 via 10.0.0.6',
      'route add default via 10.0.0.9 table 1000',
      '-6 route add default via fe80::9 dev eth0 table 1000',
      'rule add from 10.0.0.2 lookup 1000 priority 100',
      '-6 rule add iif eth0 lookup 1000 priority 100',
    ],
  },
  {
    name: 'a route with a realm',
    setup: [
      ...both,
      'route add default via 10.0.0.1 realm 5',
      'route add 10.9.0.0/16 nexthop via 10.0.0.5 realm 7 nexthop via 10.0.0.6',
      default6,
    ],
  },
  {
    name: 'routes that encapsulate',
    setup: [
      ...plain,
      'route add 10.9.0.0/16 encap ip id 100 dst 10.0.0.5 via 10.0.0.1 dev eth0',
      '-6 route add 2001:db8:9::/48 encap seg6 mode encap segs 2001:db8::5 dev eth0',
    ],
  },
  {
    name: 'nexthop objects',
    setup: [
      ...both,
      'nexthop add id 5 via 10.0.0.1 dev eth0',
      'route add default nhid 5',
      'nexthop add id 6 via 10.0.0.5 dev eth0',
      'nexthop add id 10 group 5,3/6,2',
      'route add 10.9.0.0/16 nhid 10',
      'nexthop add id 7 via fe80::1 dev eth0',
      '-6 route add default nhid 7',
      'nexthop add id 9 blackhole',
      'nexthop add id 12 dev eth0 proto static',
    ],
  },
  {
    name: 'nexthop objects whose routes do not show their gateways',
    setup: [
      'sysctl net/ipv4/nexthop_compat_mode 0',
      ...both,
      'nexthop add id 5 via 10.0.0.1 dev eth0',
      'route add default nhid 5',
      'nexthop add id 7 via fe80::1 dev eth0',
      '-6 route add default nhid 7',
    ],
  },
  {
    name: 'a group of nexthop objects over two links',
    setup: [
      ...both,
      eth1,
      'nexthop add id 5 via 10.0.0.1 dev eth0',
      'nexthop add id 6 via 192.168.7.9 dev eth1',
      'nexthop add id 10 group 5,3/6,2',
      'route add default nhid 10',
    ],
  },
  {
    name: 'a resilient group of nexthop objects',
    setup: [
      ...both,
      'nexthop add id 5 via 10.0.0.1 dev eth0',
      'nexthop add id 10 group 5 type resilient buckets 8',
      'route add default nhid 10',
    ],
    refused: /10.*resilient/,
  },

  {
    name: 'routes that the Go implementation left',
    setup: [
      ...plain,
      'route add 10.244.0.0/16 via 10.0.0.1 proto static mtu 1440',
      'route add 10.96.0.0/12 via 10.0.0.1 proto static mtu 1440',
      '-6 route add fd00:96::/112 via fe80::1 dev eth0 proto static mtu 1440',
      'route add 10.9.0.0/16 via 10.0.0.1 proto static mtu 1400',
      'route add 10.10.0.0/16 via 10.0.0.1 proto static',
    ],
    leftovers: ['10.244.0.0/16', '10.96.0.0/12', 'fd00:96::/112'],
  },

  // The link.
  {
    name: 'sysctls',
    setup: [
      ...plain,
      conf(4, 'rp_filter', 2),
      conf(4, 'arp_ignore', 1),
      conf(4, 'arp_announce', 2),
      conf(4, 'forwarding', 1),
      conf(4, 'ignore_routes_with_linkdown', 1),
      conf(4, 'drop_gratuitous_arp', 1),
      conf(4, 'force_igmp_version', 3),
      conf(6, 'accept_ra', 2),
      conf(6, 'autoconf', 0),
      conf(6, 'forwarding', 1),
      conf(6, 'accept_ra_rtr_pref', 0),
      conf(6, 'accept_ra_mtu', 0),
      conf(6, 'mtu', 1400),
      conf(6, 'accept_ra_min_hop_limit', 100),
      conf(6, 'use_oif_addrs_only', 1),
      conf(6, 'max_addresses', 32),
      conf(6, 'ra_defrtr_metric', 500),
      conf(6, 'suppress_frag_ndisc', 1),
      conf(6, 'ignore_routes_with_linkdown', 1),
      conf(6, 'temp_prefered_lft', 9000),
      'sysctl net/ipv4/neigh/eth0/base_reachable_time_ms 12345',
      'sysctl net/ipv6/neigh/eth0/gc_stale_time 77',
    ],
  },
  {
    name: 'a secret for stable addresses',
    lost_flags: ['stable-privacy'],
    setup: [
      conf(6, 'stable_secret', '2001:db8:1:2:3:4:5:6'),
      'link set eth0 down',
      'link set eth0 up',
      ...plain,
    ],
  },
  {
    name: 'temporary addresses',
    setup: [
      conf(6, 'use_tempaddr', 2),
      ...both,
      'addr add 2001:db8:4:0:1:2:3:4/64 dev eth0 mngtmpaddr nodad',
      default4,
      default6,
    ],
    lost_flags: ['temporary'],
  },
  { name: 'promiscuous, all multicast', setup: ['link set eth0 promisc on allmulticast on', ...plain] },
  {
    name: 'jumbo frames, long queue, group, alias',
    setup: ['link set eth0 mtu 9000 txqueuelen 5000 group 42 alias lan', ...plain],
  },
  { name: 'a MAC of the administrator', setup: ['link set eth0 address 06:11:22:33:44:55', ...plain] },
  {
    name: 'alternative names',
    setup: ['link property add dev eth0 altname enp0s31f6 altname a-name-longer-than-fifteen', ...plain],
  },
  {
    name: 'named by an alternative name',
    setup: ['link property add dev eth0 altname enp0s31f6', ...plain],
    uplinks: ['enp0s31f6'],
  },
  {
    name: 'neighbours of all kinds',
    setup: [
      ...plain,
      'neigh add 10.0.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent',
      '-6 neigh add 2001:db8::50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent router',
      'neigh add proxy 10.0.0.60 dev eth0',
      '-6 neigh add proxy 2001:db8::60 dev eth0',
      'neigh add 10.0.0.51 lladdr 02:00:00:00:00:51 dev eth0 nud noarp',
      'neigh add 10.0.0.52 lladdr 02:00:00:00:00:52 dev eth0 nud permanent extern_learn',
      'neigh add 10.0.0.53 lladdr 02:00:00:00:00:53 dev eth0 nud permanent protocol static',
    ],
  },
  { name: 'down', setup: ['link set eth0 down', ip4], refused: /down/ },
  { name: 'without a carrier', setup: plain, peer: ['link set peer0 down'] },
  {
    name: 'without a carrier, and routes that are dead then',
    setup: [conf(4, 'ignore_routes_with_linkdown', 1), conf(6, 'ignore_routes_with_linkdown', 1), ...plain],
    peer: ['link set peer0 down'],
  },

  // Other links of the host.
  {
    name: 'two default routes of one metric, the first is ours',
    setup: [
      ...both,
      eth1,
      'route add default via 10.0.0.1 dev eth0 metric 100',
      'route append default via 192.168.7.11 dev eth1 metric 100',
    ],
  },
  {
    name: 'two default routes of one metric, the first is of another link',
    setup: [
      ...both,
      eth1,
      'route add default via 192.168.7.11 dev eth1 metric 100',
      'route append default via 10.0.0.1 dev eth0 metric 100',
      'route append default via 10.0.0.5 dev eth0 metric 100',
    ],
  },
  {
    name: 'two links in one subnet',
    setup: [
      'addr add 10.0.0.2/24 dev eth0',
      'addr add 10.0.0.12/24 dev eth1',
      ip6,
      'addr add 2001:db8::12/64 dev eth1 nodad',
      default4,
      default6,
    ],
  },
  {
    name: 'routes of another link with the same prefix and metric',
    setup: [
      ...plain,
      eth1,
      'addr add 2001:db8:7::1/64 dev eth1 nodad',
      'route add 10.9.0.0/16 via 10.0.0.5',
      'route append 10.9.0.0/16 via 192.168.7.9',
      '-6 route add 2001:db8:9::/48 dev eth0',
      '-6 route append 2001:db8:9::/48 dev eth1',
      'route add 10.96.0.0/16 via 192.168.7.9',
    ],
  },
  {
    name: 'routes over two links',
    setup: [
      ...both,
      eth1,
      'addr add 2001:db8:7::1/64 dev eth1 nodad',
      'route add default nexthop via 10.0.0.1 weight 2 nexthop via 192.168.7.9 weight 3',
      '-6 route add default nexthop via 2001:db8::1 dev eth0 nexthop via 2001:db8:7::9 dev eth1',
    ],
  },
  {
    name: "routes of another link with the uplink's address as source",
    setup: [
      ...plain,
      eth1,
      'route add 10.77.0.0/16 via 192.168.7.9 dev eth1 src 10.0.0.2',
      'addr add 2001:db8:7::1/64 dev eth1 nodad',
      '-6 route add 2001:db8:78::/48 via 2001:db8:7::9 dev eth1 src 2001:db8::2',
      'route add blackhole 10.78.0.0/16 src 10.0.0.2',
    ],
  },
  {
    name: 'two uplinks that need each other',
    setup: [
      ...both,
      eth1,
      'addr add 2001:db8:7::1/64 dev eth1 nodad',
      'route add default via 10.0.0.1 src 192.168.7.1 metric 100',
      'route append default via 192.168.7.9 src 10.0.0.2 metric 100',
      'route add 10.9.0.0/16 nexthop via 10.0.0.5 nexthop via 192.168.7.9',
      '-6 route add default nexthop via 2001:db8::1 dev eth0 nexthop via 2001:db8:7::9 dev eth1',
    ],
    uplinks: ['eth0', 'eth1'],
  },
  {
    name: 'a route over a link that is down',
    setup: [
      ...both,
      eth1,
      'route add default nexthop via 10.0.0.1 nexthop via 192.168.7.9',
      'link set eth1 down',
    ],
    refused: /0\.0\.0\.0\/0.*eth1 is down/,
  },

  // What hangs on the uplink.
  {
    name: 'a VLAN above',
    setup: [
      ...plain,
      'link add link eth0 name eth0.100 type vlan id 100',
      'link set eth0.100 up',
      'addr add 10.100.0.2/24 dev eth0.100',
    ],
    needs: ['vlan'],
    refused: /eth0\.100 \(vlan\)/,
  },
  {
    name: 'a macvlan above',
    setup: [...plain, 'link add link eth0 name mac0 type macvlan mode bridge', 'link set mac0 up'],
    needs: ['macvlan'],
    refused: /mac0 \(macvlan\)/,
  },
  {
    name: 'a VXLAN',
    setup: [
      ...plain,
      'link add vx0 type vxlan id 7 dev eth0 dstport 4790 local 10.0.0.2 remote 10.0.0.1',
      'link set vx0 up',
    ],
    needs: ['vxlan'],
    refused: /vx0 \(vxlan\)/,
  },
  {
    name: 'a port of a bridge',
    setup: ['link add br0 type bridge', 'link set br0 up', 'link set eth0 master br0', ip4, default4],
    needs: ['bridge'],
    refused: /br0/,
  },
  {
    name: 'a member of a VRF',
    setup: [
      'link add vrf0 type vrf table 50',
      'link set vrf0 up',
      'link set eth0 master vrf0',
      ...both,
      'route add default via 10.0.0.1 vrf vrf0',
    ],
    needs: ['vrf'],
    refused: /vrf0/,
  },
  {
    name: 'a member of a bond',
    setup: [
      'link set eth0 down',
      'link add bond0 type bond',
      'link set eth0 master bond0',
      'link set bond0 up',
      'addr add 10.0.0.2/24 dev bond0',
    ],
    needs: ['bond'],
    refused: /bond0/,
  },
  {
    name: 'a bond as uplink',
    setup: [
      'link set eth1 down',
      'link add bond0 type bond',
      'link set eth1 master bond0',
      'link set bond0 up',
      'addr add 10.0.0.2/24 dev bond0',
    ],
    needs: ['bond'],
    uplinks: ['bond0'],
    refused: /bond0.*is a bond/,
  },
  {
    name: 'a bridge as uplink',
    setup: [
      'link add br0 type bridge',
      'link set br0 up',
      'link set eth1 master br0',
      'addr add 10.0.0.2/24 dev br0',
    ],
    needs: ['bridge'],
    uplinks: ['br0'],
    refused: /br0.*is a bridge/,
  },
  {
    name: 'a VLAN as uplink',
    setup: [
      'link add link eth0 name eth0.100 type vlan id 100',
      'link set eth0.100 up',
      'addr add 10.0.0.2/24 dev eth0.100',
      'addr add 2001:db8::2/64 dev eth0.100 nodad',
      default4,
    ],
    needs: ['vlan'],
    uplinks: ['eth0.100'],
  },
  {
    name: 'a macvlan as uplink',
    setup: [
      'link add link eth0 name mac0 type macvlan mode bridge',
      'link set mac0 up',
      'addr add 10.0.0.2/24 dev mac0',
      'addr add 2001:db8::2/64 dev mac0 nodad',
      default4,
    ],
    needs: ['macvlan'],
    uplinks: ['mac0'],
  },
  {
    name: 'virtual addresses on a dummy',
    setup: [...plain, 'link add vips type dummy', 'link set vips up', 'addr add 198.51.100.7/32 dev vips'],
    needs: ['dummy'],
  },
];
