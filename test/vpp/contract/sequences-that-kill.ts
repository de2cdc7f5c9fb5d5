/** Sequences that kill VPP, with those near them that do not. */
import {
  cnat_get_snat_addresses,
  cnat_set_snat_policy,
  cnat_snat_addresses_dump,
  cnat_translation_del,
} from 'vpp-binapi-ts/cnat';
import {
  type Asked,
  ask,
  bind,
  mtables,
  no_table,
  no_tap,
  path,
  route,
  routes,
  type Sequence,
  snat_addresses,
  table,
  tables,
  translation,
  truncated_route,
  tun,
  via,
} from './steps.js';

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
