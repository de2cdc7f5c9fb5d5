/** Addresses that a host may have on its uplink. */
import { both, conf, default4, default6, ip4, type OddHost, plain } from './odd-host.js';

export const addresses_hosts: readonly OddHost[] = [
  { name: 'both families', setup: plain },

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
];
