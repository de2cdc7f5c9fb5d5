/** What else the uplink itself may have: names, sysctls, neighbours. */
import { both, conf, default4, default6, ip4, type OddHost, plain } from './odd-host.js';

export const links_hosts: readonly OddHost[] = [
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
    lost: { 'stable-privacy': /made of a secret/ },
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
    lost: { temporary: /temporary addresses/ },
  },
  { name: 'promiscuous, all multicast', setup: ['link set eth0 promisc on allmulticast on', ...plain] },
  {
    name: 'jumbo frames, long queue, group, alias',
    setup: ['link set eth0 mtu 9000 txqueuelen 5000 group 42 alias lan', ...plain],
  },
  {
    name: 'a queueing discipline of the administrator',
    setup: [
      'link set eth0 mtu 9000 txqueuelen 5000',
      ...plain,
      'tc qdisc add dev eth0 root handle 1: tbf rate 10mbit burst 32k latency 400ms',
    ],
    lost: { qdisc: /queueing discipline tbf/ },
  },
  {
    name: 'a place for filters of tc',
    setup: [...plain, 'tc qdisc add dev eth0 clsact'],
    lost: { filters: /filters of tc/ },
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
];
