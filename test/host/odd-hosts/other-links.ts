/** Links beside the uplink, above it, and in its stead. */
import { both, default4, default6, eth1, ip4, ip6, type OddHost, plain } from './odd-host.js';

export const other_links_hosts: readonly OddHost[] = [
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
    lost: { order: /1 IPv6 route\(s\) before equal ones of other devices, e\.g\. 2001:db8:9::/ },
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
