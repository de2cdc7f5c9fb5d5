/** Sequences that kill VPP, with those near them that do not. */
import {
  cnat_get_snat_addresses,
  cnat_set_snat_policy,
  cnat_snat_addresses_dump,
  cnat_translation_del,
} from 'vpp-binapi-ts/cnat';
import { configure, policy, rule } from './policies.js';
import {
  type Asked,
  address,
  ask,
  bind,
  cnat_feature,
  decap,
  ipip,
  loopback,
  mtables,
  neighbour,
  no_table,
  no_tap,
  own,
  path,
  path_mtu,
  route,
  route_of,
  routes,
  routes_of,
  type Sequence,
  type Step,
  snat_addresses,
  source,
  table,
  tables,
  tap,
  traffic,
  translation,
  truncated_route,
  tun,
  unnumbered,
  up,
  via,
  vxlan,
} from './steps.js';

const path_mtu_addresses = Array.from({ length: 70 }, (_, at) => `10.77.0.${at + 1}`);
const path_mtus = path_mtu_addresses.map((each) => path_mtu(0, each, 1400));

/** A pod whose packets to any address are judged: as they come in, and as they go back. */
const judged_pod: readonly Step[] = [
  snat_addresses('10.0.0.2', 'fd00::2'),
  tun(),
  cnat_feature(1),
  up(1),
  address(1, '169.254.1.1/32'),
  route(0, '10.1.0.0/24', [via(1, '10.1.0.5')]),
];

/** A pod whose packets may go by VXLAN to another node. */
const pod_and_vxlan: readonly Step[] = [
  tun(),
  up(1),
  address(1, '169.254.1.1/32'),
  tap({ host_if_name: 'eth1' }),
  up(2),
  address(2, '10.0.0.2/24'),
  neighbour(2, '10.0.0.3', '02:00:00:00:00:03'),
  decap(4),
  vxlan('10.0.0.2', '10.0.0.3'),
  unnumbered(3, 2),
  up(3),
];

/** A pod whose packets may go by IPIP to two other nodes behind a router. */
const pod_and_two_ipip: readonly Step[] = [
  tun(),
  up(1),
  address(1, '169.254.1.1/32'),
  tap({ host_if_name: 'eth1' }),
  up(2),
  address(2, '10.0.0.2/24'),
  neighbour(2, '10.0.0.254', '02:00:00:00:00:03'),
  route(0, '0.0.0.0/0', [via(2, '10.0.0.254')]),
  ipip('10.0.0.2', '10.1.2.5'),
  ipip('10.0.0.2', '10.1.0.5'),
  unnumbered(3, 2),
  unnumbered(4, 2),
  up(3),
  up(4),
];

export const sequences: readonly Sequence[] = [
  {
    name: 'a message with more paths announced than it has is dropped without an answer',
    steps: [
      {
        message: truncated_route as Asked<never>,
        fields: {
          is_add: true,
          is_multipath: false,
          route: { table_id: 0, stats_index: 0, prefix: '10.0.0.0/8', src: 0, paths: [path()] },
        },
        unanswered: true,
      },
      tables(),
    ],
  },
  { name: 'P1: a translation without back ends', dies: true, steps: [translation('10.0.0.2', 80, [])] },
  {
    name: 'P2: a back end twice in a translation, updated and deleted, then a route to it',
    dies: true,
    steps: [
      tun(),
      translation('10.0.0.2', 80, ['10.1.0.5', '10.1.0.5']),
      translation('10.0.0.2', 80, ['10.1.0.5']),
      ask(cnat_translation_del, { id: 0 }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
    ],
  },
  {
    name: 'P2 without the update is survived',
    steps: [
      tun(),
      translation('10.0.0.2', 80, ['10.1.0.5', '10.1.0.5']),
      ask(cnat_translation_del, { id: 0 }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      routes(0),
    ],
  },
  {
    name: 'P3 with the cnat call first is survived',
    devices: true,
    steps: [
      snat_addresses('10.0.0.2', 'fd00::2'),
      table(7, false, 'pod'),
      table(8, false, 'another'),
      tun(),
      bind(1, false, 7),
      route(7, '0.0.0.0/0', [path({ table_id: 0 })]),
      cnat_feature(1),
      up(1),
      address(1, '169.254.1.1/32'),
      traffic,
      tun({ host_if_name: 'eth1' }),
      bind(2, false, 8),
      tables(),
    ],
  },
  {
    name: 'P4: a second path beside one through a deleted interface',
    dies: true,
    steps: [
      tun(),
      tun({ host_if_name: 'eth1' }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      no_tap(1),
      route(0, '10.1.0.5/32', [via(2, '10.1.0.5')], true),
    ],
  },
  {
    name: 'P4 without multipath is survived',
    steps: [
      tun(),
      tun({ host_if_name: 'eth1' }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      no_tap(1),
      route(0, '10.1.0.5/32', [via(2, '10.1.0.5')]),
      routes(0),
    ],
  },
  {
    name: 'P5: a table is deleted whose interface is gone and has an attached route elsewhere',
    dies: true,
    steps: [
      tun(),
      table(7, false, 'pod'),
      bind(1, false, 7),
      route(0, '10.1.0.5/32', [via(1)]),
      no_tap(1),
      no_table(7, false),
    ],
  },
  {
    name: 'P5: an interface is deleted whose table is, and that has an attached route elsewhere',
    dies: true,
    steps: [
      tun(),
      table(7, false, 'pod'),
      bind(1, false, 7),
      no_table(7, false),
      route(0, '10.1.0.5/32', [via(1)]),
      no_tap(1),
    ],
  },
  {
    name: 'P5 with a next hop is survived',
    steps: [
      tun(),
      table(7, false, 'pod'),
      bind(1, false, 7),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      no_tap(1),
      no_table(7, false),
      tables(),
      mtables(),
    ],
  },
  {
    name: 'P6: a path of type BIER',
    dies: true,
    steps: [route(0, '10.1.0.0/16', [path({ type: 'FIB_API_PATH_TYPE_BIER_IMP' })])],
  },
  {
    name: 'path MTUs of addresses that are not on link',
    spins: true,
    steps: [loopback(), up(1), route(0, '0.0.0.0/0', [via(1, '10.0.0.1')]), ...path_mtus],
  },
  {
    name: 'path MTUs of addresses in the subnet of an interface are survived',
    steps: [loopback(), up(1), address(1, '10.77.0.254/24'), ...path_mtus],
  },
  {
    name: 'path MTUs of addresses with host routes are survived',
    steps: [
      loopback(),
      up(1),
      ...path_mtu_addresses.map((each) => route(0, `${each}/32`, [via(1, '10.0.0.1')])),
      ...path_mtus,
    ],
  },
  {
    name: 'two sources with a route to one prefix by one next hop without an interface, the better one also by another',
    dies: true,
    steps: [
      source('better', 0x70),
      source('worse', 0x71),
      route_of(own(1), '10.3.0.0/24', [path({ nh: '10.1.0.9' })]),
      route_of(own(0), '10.3.0.0/24', [path({ nh: '10.1.0.9' }), path({ nh: '10.1.0.8' })]),
    ],
  },
  {
    name: 'of one source alone they are survived',
    steps: [
      source('better', 0x70),
      route_of(own(0), '10.3.0.0/24', [path({ nh: '10.1.0.9' })]),
      route_of(own(0), '10.3.0.0/24', [path({ nh: '10.1.0.9' }), path({ nh: '10.1.0.8' })]),
      routes_of(own(0)),
    ],
  },
  {
    name: 'npol: a rule names an IP set that does not exist, and a packet comes',
    devices: true,
    dies: true,
    steps: [
      ...judged_pod,
      rule({ is_src: true, is_not: false, type: 'NPOL_IP_SET', data: { set_id: { set_id: 100_000 } } }),
      policy(0),
      configure(1, 1, 1, [0, 0]),
      traffic,
      tables(),
    ],
  },
  {
    name: 'npol: a policy names a rule that does not exist, and a packet comes',
    devices: true,
    dies: true,
    steps: [...judged_pod, policy(100_000), configure(1, 1, 1, [0, 0]), traffic, tables()],
  },
  {
    name: 'VXLAN without Ethernet over IPv4: a route by it without next hop, and a packet comes',
    devices: true,
    dies: true,
    steps: [...pod_and_vxlan, route(0, '10.1.0.0/24', [via(3)]), traffic, tables()],
  },
  {
    name: 'VXLAN without Ethernet over IPv4: a route by it with a next hop is survived',
    devices: true,
    steps: [...pod_and_vxlan, route(0, '10.1.0.0/24', [via(3, '10.0.0.3')]), traffic, tables()],
  },
  {
    name: 'IPIP: two tunnels, each led to its far end by the other one, and a packet comes',
    devices: true,
    dies: true,
    steps: [
      ...pod_and_two_ipip,
      route(0, '10.1.0.0/26', [via(3, '10.1.2.5')]),
      route(0, '10.1.2.0/26', [via(4, '10.1.0.5')]),
      traffic,
      tables(),
    ],
  },
  {
    name: 'IPIP: a tunnel led to its far end by another one is survived',
    devices: true,
    steps: [...pod_and_two_ipip, route(0, '10.1.0.0/26', [via(3, '10.1.2.5')]), traffic, tables()],
  },
  {
    name: 'IPIP: a tunnel led to its far end by a route whose next hop it leads to itself is survived',
    devices: true,
    steps: [
      ...pod_and_two_ipip,
      route(0, '10.1.0.0/26', [via(3, '10.1.2.5')]),
      route(0, '10.1.2.0/26', [path({ nh: '10.1.0.9' })]),
      traffic,
      tables(),
    ],
  },
  ...[0, 3].map(
    (flags): Sequence => ({
      name: `P7: SNAT addresses with flags ${flags} are taken away`,
      steps: [
        snat_addresses('10.0.0.2', 'fd00::2', flags),
        snat_addresses('0.0.0.0', '::', flags),
        ask(cnat_get_snat_addresses, {}),
        ask(cnat_snat_addresses_dump, {}),
        ask(cnat_set_snat_policy, { policy: 'CNAT_POLICY_K8S' }),
        snat_addresses('0.0.0.0', '::', flags),
        snat_addresses('10.0.0.3', '::', flags),
        ask(cnat_get_snat_addresses, {}),
        ask(cnat_snat_addresses_dump, {}),
      ],
    }),
  ),
];
