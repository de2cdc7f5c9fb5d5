/** Routes that a host may have through its uplink. */
import { both, default4, default6, eth1, type OddHost, plain } from './odd-host.js';

export const routes_hosts: readonly OddHost[] = [
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
];
