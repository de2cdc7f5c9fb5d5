import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { hostTapMac, type Uplink } from '../../src/desired/node-inputs.js';
import { hostTapTable, physicalNetworkTables } from '../../src/desired/tables.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { ObjectKind, ObjectOf, VppObject } from '../../src/objects/object.js';
import { interfaceMade, interfacesUsed, keyOf } from '../../src/objects/object.js';
import { reconcile } from '../../src/reconcile/reconcile.js';
import { address, inWords, linuxRoute, nodeOf, routesOf, uplinkOf } from './sample.js';

function of<K extends ObjectKind>(objects: readonly VppObject[], kind: K): ObjectOf<K>[] {
  return objects.filter((object): object is ObjectOf<K> => object.kind === kind);
}

t.test('a dual-stack node', async (t) => {
  const inputs = nodeOf({ redirects: [{ protocol: 'udp', port: 53, address: '10.96.0.10' }] });
  const objects = desiredNode(inputs, true);
  t.same(objects.map(inWords), [
    'snat_addresses:',
    'loopback:node-snat',
    'snat_policy:',
    'snat_exclude:10.0.0.2/32',
    'snat_exclude:fd00::2/128',
    'snat_exclude:fe80::/10',
    'snat_exclude:ff00::/8',
    'snat_exclude:10.96.0.0/16',
    'snat_exclude:fd00:96::/112',
    'table:4/1',
    'table:4/2',
    'route:node/2/0.0.0.0/0 table 0',
    'route:node/2/240.0.0.0/5 table 0',
    'route:node/2/248.0.0.0/5 table 0',
    'neighbour_limits:4',
    'punt_redirect:4',
    'punt_l4:4/tcp',
    'punt_l4:4/udp',
    'table:6/1',
    'table:6/2',
    'route:node/2/::/0 table 0',
    'neighbour_limits:6',
    'punt_redirect:6',
    'punt_l4:6/tcp',
    'punt_l4:6/udp',
    'af_packet:main-eth0',
    'interface_mtu:main-eth0',
    'interface_rx_mode:main-eth0',
    'interface_flag:main-eth0/gso_feature',
    'interface_flag:main-eth0/ip6_enabled',
    'interface_flag:main-eth0/ra_suppressed',
    'interface_flag:main-eth0/cnat_feature',
    'interface_flag:main-eth0/admin_up',
    'interface_address:main-eth0/10.0.0.2/24',
    'interface_address:main-eth0/fd00::2/64',
    'link_local:main-eth0',
    'tap:host-eth0',
    'table:4/1048576',
    'table:6/1048576',
    'interface_table:host-eth0/4',
    'route:node/1048576/0.0.0.0/0 table 0',
    'route:node/1048576/240.0.0.0/5 table 0',
    'route:node/1048576/248.0.0.0/5 table 0',
    'interface_table:host-eth0/6',
    'route:node/1048576/::/0 table 0',
    'route:node/1048576/255.255.255.255/32 main-eth0 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    'mroute:1048576/ff02::1:2/128',
    'interface_address:host-eth0/169.254.0.1/32',
    'interface_mtu:host-eth0',
    'interface_rx_mode:host-eth0',
    'rx_placement:host-eth0/0',
    'interface_flag:host-eth0/ip6_enabled',
    'interface_flag:host-eth0/ra_suppressed',
    'interface_flag:host-eth0/cnat_feature',
    'interface_flag:host-eth0/snat_pod',
    'interface_flag:host-eth0/snat_host',
    'interface_flag:host-eth0/proxy_arp',
    'interface_flag:host-eth0/gso_feature',
    'interface_flag:host-eth0/admin_up',
    'proxy_arp_range:1048576/0.0.0.0-255.255.255.255',
    'ttl_fixup:host-eth0/main-eth0',
    'route:node/1048576/10.0.0.2/32 host-eth0 10.0.0.2',
    'neighbour:host-eth0/10.0.0.2',
    'route:node/1048576/fd00::2/128 host-eth0 fd00::2',
    'neighbour:host-eth0/fd00::2',
    'route:node/1048576/fe80::1:2/128 host-eth0 fe80::1:2',
    'neighbour:host-eth0/fe80::1:2',
    'route:node/0/0.0.0.0/0 main-eth0 10.0.0.1',
    'route:node/0/::/0 main-eth0 fe80::1',
    'route:node/1/10.0.0.2/32 host-eth0 10.0.0.2',
    'route:node/1/fd00::2/128 host-eth0 fd00::2',
    'route:node/1/fe80::1:2/128 host-eth0 fe80::1:2',
    'route:node/1/10.0.0.0/24 host-eth0 10.0.0.2',
    'route:node/1/fd00::/64 host-eth0 fd00::2',
    'redirect_table:4',
    'redirect_rule:udp/10.96.0.10/53',
  ]);
  t.match(of(objects, 'snat_addresses'), [{ ip4: '10.0.0.2', ip6: 'fd00::2' }]);
  t.match(of(objects, 'tap'), [
    {
      host_if_name: 'eth0',
      host_mac: '02:00:00:00:00:01',
      mac: '02:ca:11:c0:fd:00',
      host_namespace: 'pid:1',
      host_mtu: 1500,
      type: 'tap',
      persistent: false,
    },
  ]);
  t.match(of(objects, 'redirect_rule'), [{ interface: 'host-eth0', next_hop: '10.0.0.2' }]);
  t.same(
    of(objects, 'interface_mtu').map(({ mtu }) => mtu),
    [1500, 9216],
  );
});

t.test(
  'where VPP does IKE the far ends of encrypted tunnels have a table, from which all goes on',
  async (t) => {
    const more = desiredNode(nodeOf({ does_ike: true }), true).map(inWords);
    const plain = new Set(desiredNode(nodeOf(), true).map(inWords));
    t.same(
      more.filter((word) => !plain.has(word)),
      [
        'table:4/5',
        'route:node/5/0.0.0.0/0 table 0',
        'route:node/5/240.0.0.0/5 table 0',
        'route:node/5/248.0.0.0/5 table 0',
        'table:6/5',
        'route:node/5/::/0 table 0',
      ],
    );
  },
);

t.test('before the host is ready the taps are down, and nothing else differs', async (t) => {
  const inputs = nodeOf();
  const later = reconcile(desiredNode(inputs, true), desiredNode(inputs, false));
  t.same(
    later.map(({ action, object }) => `${action} ${keyOf(object)}`),
    ['add interface_flag:host-eth0/admin_up'],
  );
});

t.test('what a DHCP server offers reaches a host whose address is lent, and the host alone', async (t) => {
  const lent = desiredNode(nodeOf({ uplinks: [uplinkOf({ leased: true })] }), true);
  const lasting = desiredNode(nodeOf({ uplinks: [uplinkOf()] }), true);
  const words = (objects: VppObject[]) => new Set(objects.map(inWords));
  t.same(
    [...words(lent)].filter((word) => !words(lasting).has(word)),
    ['interface_flag:main-eth0/dhcp_client_detect', 'route:node/1/255.255.255.255/32 host-eth0 10.0.0.2'],
  );
  t.same(
    [...words(lasting)].filter((word) => !words(lent).has(word)),
    [],
  );
});

t.test('without offload no interface has the GSO feature', async (t) => {
  t.notOk(
    desiredNode(nodeOf({ gso: false }), true).some(
      (o) => o.kind === 'interface_flag' && o.flag === 'gso_feature',
    ),
  );
});

t.test(
  'what the host has elsewhere, or answers for, leads to its tap; services have their own way',
  async (t) => {
    const set = { link: 2, family: 4, state: 0x80, flags: 0 } as const;
    const uplink = uplinkOf({
      addresses: [address('10.0.0.2/24')],
      routes: [],
      host_addresses: ['10.96.0.10', '198.51.100.7', 'fd00:96::a', 'fd77::7'],
      neighbours: [
        { ...set, address: '10.0.0.50', mac: '02:00:00:00:00:50' },
        { ...set, address: '10.0.0.60', state: 0, flags: 8 },
      ],
    });
    const about = (text: string) =>
      desiredNode(nodeOf({ uplinks: [uplink] }), true)
        .map(inWords)
        .filter((line) => line.includes(text));
    t.same(about('198.51.100.7'), [
      'route:node/0/198.51.100.7/32 host-eth0 198.51.100.7',
      'proxy_arp_range:0/198.51.100.7-198.51.100.7',
      'neighbour:host-eth0/198.51.100.7',
    ]);
    t.same(about('fd77::7'), ['route:node/0/fd77::7/128 host-eth0 fd77::7', 'neighbour:host-eth0/fd77::7']);
    t.same([...about('10.96.0.10'), ...about('fd00:96::a')], []);
    t.same(about('10.0.0.60').length, 3, 'what it is a proxy for');
    t.same(about('10.0.0.50'), ['neighbour:main-eth0/10.0.0.50'], 'a neighbour that somebody has set');
    t.ok(about('main-eth0/proxy_arp').length > 0);
  },
);

t.test('an address inside the subnet of another one is answered for and handed to the host', async (t) => {
  const addresses = ['10.0.0.2/24', '10.0.0.100/32', '10.0.0.101/32', 'fd00::2/64'].map((prefix) =>
    address(prefix),
  );
  const objects = desiredNode(nodeOf({ uplinks: [uplinkOf({ addresses, routes: [] })] }), true);
  const about = objects
    .map(inWords)
    .filter((text) => text.includes('10.0.0.10') && !text.includes('1048576'));
  t.same(about, [
    'route:node/0/10.0.0.100/32 host-eth0 10.0.0.100',
    'proxy_arp_range:0/10.0.0.100-10.0.0.100',
    'route:node/0/10.0.0.101/32 host-eth0 10.0.0.101',
    'proxy_arp_range:0/10.0.0.101-10.0.0.101',
    'neighbour:host-eth0/10.0.0.100',
    'neighbour:host-eth0/10.0.0.101',
    'route:node/1/10.0.0.100/32 host-eth0 10.0.0.100',
    'route:node/1/10.0.0.101/32 host-eth0 10.0.0.101',
  ]);
  t.ok(objects.some((o) => keyOf(o) === 'interface_flag:main-eth0/proxy_arp'));
  const first = uplinkOf({ addresses: [address('10.0.0.100/32'), address('10.0.0.2/24')], routes: [] });
  t.same(
    of(desiredNode(nodeOf({ uplinks: [first] }), true), 'interface_address').map(({ prefix }) => prefix),
    ['10.0.0.2/24', '169.254.0.1/32'],
    'whichever of them comes first',
  );
});

t.test('several uplinks', async (t) => {
  const first = uplinkOf({
    routes: [
      linuxRoute('0.0.0.0/0', ['10.0.0.1'], { metric: 100 }),
      linuxRoute('10.8.0.0/16', ['10.0.0.7', '10.2.0.7 dev 3']),
    ],
  });
  const second = uplinkOf({
    name: 'eth1',
    index: 1,
    is_main: false,
    link: 3,
    mac: '02:00:00:00:00:02',
    addresses: [address('10.2.0.2/24', { link: 3 }), address('fe80::9/64', { link: 3 })],
    routes: [
      linuxRoute('0.0.0.0/0', ['10.2.0.1 dev 3'], { metric: 200 }),
      linuxRoute('10.8.0.0/16', ['10.0.0.7', '10.2.0.7 dev 3']),
    ],
  });
  const elsewhere = { ...second, physical_network: 'blue' };
  t.same(
    routesOf(nodeOf({ uplinks: [first, elsewhere] })),
    ['0.0.0.0/0 main-eth0 10.0.0.1', '10.8.0.0/16 main-eth0 10.0.0.7'],
    'no path leads into another physical network',
  );
  const inputs = nodeOf({ uplinks: [first, second] });
  t.same(
    routesOf(inputs),
    ['0.0.0.0/0 main-eth0 10.0.0.1', '10.8.0.0/16 main-eth0 10.0.0.7 + main-eth1 10.2.0.7'],
    'the best route over all of them, and multipath through both',
  );
  t.same(routesOf(inputs, hostTapTable(1)), [
    '0.0.0.0/0 table 0',
    '240.0.0.0/5 table 0',
    '248.0.0.0/5 table 0',
    '::/0 table 0',
    '255.255.255.255/32 main-eth1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    '10.2.0.2/32 host-eth1 10.2.0.2',
    'fe80::9/128 host-eth1 fe80::9',
  ]);
  const taps = of(desiredNode(inputs, true), 'tap');
  t.same(
    taps.map(({ mac }) => mac),
    ['02:ca:11:c0:fd:00', '02:ca:11:c0:fd:01'],
  );
  t.match(of(desiredNode(inputs, true), 'snat_addresses'), [{ ip4: '10.0.0.2', ip6: 'fd00::2' }]);
  t.equal(hostTapMac(255), '02:ca:11:c0:fd:ff');
});

t.test('two uplinks in one subnet: packets that VPP punts go to the one that comes first', async (t) => {
  const second = uplinkOf({
    name: 'eth1',
    index: 1,
    is_main: false,
    link: 3,
    addresses: [address('10.0.0.3/24')],
  });
  t.same(routesOf(nodeOf({ uplinks: [uplinkOf({ addresses: [address('10.0.0.2/24')] }), second] }), 1), [
    '10.0.0.2/32 host-eth0 10.0.0.2',
    '10.0.0.3/32 host-eth1 10.0.0.3',
    '10.0.0.0/24 host-eth0 10.0.0.2',
  ]);
});

t.test('a physical network has tables of its own, for the uplink and for its pods', async (t) => {
  const networks = ['', 'blue', 'red', 'blue'];
  const uplinks = networks.map((physical_network, index) =>
    uplinkOf({
      name: `eth${index}`,
      index,
      is_main: index === 0,
      link: 2 + index,
      physical_network,
      addresses: [address(`10.${index}.0.2/24`)],
      routes: [linuxRoute('0.0.0.0/0', [`10.${index}.0.1 dev ${2 + index}`], { metric: index })],
    }),
  );
  const inputs = nodeOf({ uplinks });
  const objects = desiredNode(inputs, true);
  const blue = physicalNetworkTables(0);
  const red = physicalNetworkTables(1);
  t.same(
    of(objects, 'table').flatMap(({ family, table_id, name }) =>
      family === 4 && /blue|red/.test(name) ? [[table_id, name]] : [],
    ),
    [
      [blue.main, 'physical-net-blue-ip4'],
      [blue.pods, 'calico-pods-blue-ip4'],
      [red.main, 'physical-net-red-ip4'],
      [red.pods, 'calico-pods-red-ip4'],
    ],
  );
  t.same(
    of(objects, 'interface_table')
      .filter(({ interface: tag }) => tag.startsWith('main-'))
      .map((o) => `${keyOf(o)} ${o.table_id}`),
    [
      ...[`interface_table:main-eth1/4 ${blue.main}`, `interface_table:main-eth1/6 ${blue.main}`],
      ...[`interface_table:main-eth2/4 ${red.main}`, `interface_table:main-eth2/6 ${red.main}`],
      ...[`interface_table:main-eth3/4 ${blue.main}`, `interface_table:main-eth3/6 ${blue.main}`],
    ],
  );
  t.same(routesOf(inputs, 0), ['0.0.0.0/0 main-eth0 10.0.0.1']);
  t.same(routesOf(inputs, blue.main), ['0.0.0.0/0 main-eth1 10.1.0.1'], 'the better of its two uplinks');
  t.same(routesOf(inputs, red.main), ['0.0.0.0/0 main-eth2 10.2.0.1']);
  const to_red = ['0.0.0.0/0', '240.0.0.0/5', '248.0.0.0/5', '::/0'].map(
    (prefix) => `${prefix} table ${red.main}`,
  );
  t.same(routesOf(inputs, red.pods), to_red);
  t.same(routesOf(inputs, hostTapTable(2)).slice(0, 4), to_red);
});

t.test('redirect rules, per family', async (t) => {
  const redirects = [
    { protocol: 'udp', port: 53, address: '172.18.0.1' },
    { protocol: 'tcp', port: 53, address: '172.18.0.1' },
    { protocol: 'tcp', port: 53, address: 'fd00::53' },
    { protocol: 'udp', port: 53, address: '172.18.0.1' },
  ] as const;
  const rules = (uplink: Uplink) =>
    desiredNode(nodeOf({ uplinks: [uplink], redirects }), true).flatMap((o) =>
      o.kind === 'redirect_rule'
        ? [`${keyOf(o)} ${o.next_hop}`]
        : o.kind === 'redirect_table'
          ? [keyOf(o)]
          : [],
    );
  t.same(rules(uplinkOf()), [
    'redirect_table:4',
    'redirect_rule:udp/172.18.0.1/53 10.0.0.2',
    'redirect_rule:tcp/172.18.0.1/53 10.0.0.2',
    'redirect_table:6',
    'redirect_rule:tcp/fd00::53/53 fd00::2',
  ]);
  t.same(
    rules(uplinkOf({ addresses: [address('10.0.0.2/24')] })),
    [
      'redirect_table:4',
      'redirect_rule:udp/172.18.0.1/53 10.0.0.2',
      'redirect_rule:tcp/172.18.0.1/53 10.0.0.2',
    ],
    'a family that the node does not have is not redirected',
  );
});

const host4 = fc
  .tuple(fc.nat(3), fc.integer({ min: 1, max: 250 }))
  .map(([net, host]) => `10.${net}.0.${host}`);
const host6 = fc
  .tuple(fc.nat(3), fc.integer({ min: 1, max: 250 }))
  .map(([net, host]) => `fd0${net}::${host.toString(16)}`);
const prefix4 = fc.tuple(host4, fc.constantFrom(8, 16, 24, 25, 32)).map(([ip, length]) => `${ip}/${length}`);
const prefix6 = fc.tuple(host6, fc.constantFrom(64, 128)).map(([ip, length]) => `${ip}/${length}`);
const network = fc.constantFrom(
  '0.0.0.0/0',
  '10.8.0.0/16',
  '10.0.0.0/24',
  '10.1.0.0/24',
  '::/0',
  'fd08::/48',
  'fd00::/64',
);

function anyUplink(index: number): fc.Arbitrary<Uplink> {
  const link = 2 + index;
  return fc
    .record({
      ip: fc.uniqueArray(prefix4, { maxLength: 4, selector: (prefix) => prefix.split('/')[0] }),
      ip6: fc.uniqueArray(prefix6, { maxLength: 4, selector: (prefix) => prefix.split('/')[0] }),
      link_local: fc.boolean(),
      physical_network: fc.constantFrom('', '', 'blue', 'red'),
      routes: fc.array(
        fc.tuple(
          network,
          fc.array(fc.tuple(host4, fc.integer({ min: 2, max: 5 })), { maxLength: 3 }),
          fc.nat(2),
          fc.constantFrom('unicast' as const, 'blackhole' as const),
        ),
        { maxLength: 6 },
      ),
    })
    .map(({ ip, ip6, link_local, physical_network, routes }) =>
      uplinkOf({
        name: `eth${index}`,
        index,
        is_main: index === 0,
        link,
        physical_network,
        addresses: [...ip, ...ip6, ...(link_local ? ['fe80::1/64'] : [])].map((prefix) =>
          address(prefix, { link }),
        ),
        routes: routes.map(([prefix, hops, metric, type]) =>
          linuxRoute(
            prefix,
            hops.map(([gateway, oif]) => `${gateway} dev ${oif}`),
            { metric, type },
          ),
        ),
      }),
    );
}

const anyNode = fc
  .record({
    uplinks: fc
      .integer({ min: 1, max: 3 })
      .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => anyUplink(i)))),
    service_prefixes: fc.array(prefix4, { maxLength: 3 }),
    default_gateways: fc.array(fc.oneof(host4, host6), { maxLength: 3 }),
    redirects: fc.array(
      fc.record({
        protocol: fc.constantFrom('tcp' as const, 'udp' as const),
        port: fc.constantFrom(53, 80),
        address: fc.oneof(host4, host6),
      }),
      { maxLength: 4 },
    ),
    uplink_128_to_64: fc.boolean(),
    gso: fc.boolean(),
  })
  .map(nodeOf);

t.test(
  'whatever the node: one object per key, every interface is there, and the same inputs give the same objects',
  async () => {
    fc.assert(
      fc.property(anyNode, fc.boolean(), (inputs, taps_up) => {
        const objects = desiredNode(inputs, taps_up);
        const keys = objects.map(keyOf);
        const made = new Set(objects.flatMap((object) => interfaceMade(object) ?? []));
        const tables = new Set([
          '4/0',
          '6/0',
          ...of(objects, 'table').map((o) => `${o.family}/${o.table_id}`),
        ]);
        const unknown_tables = objects.flatMap((object) => {
          if (object.kind === 'interface_table') return [`${object.family}/${object.table_id}`];
          if (object.kind !== 'route') return [];
          const family = object.prefix.includes(':') ? 6 : 4;
          const looked_up = object.paths.flatMap((path) => (path.via === 'lookup' ? [path.table_id] : []));
          return [object.table_id, ...looked_up].map((id) => `${family}/${id}`);
        });
        return (
          new Set(keys).size === keys.length &&
          objects.flatMap(interfacesUsed).every((tag) => made.has(tag)) &&
          unknown_tables.every((name) => tables.has(name)) &&
          of(objects, 'route').every(({ paths }) => paths.length > 0) &&
          isDeepStrictEqual(objects, desiredNode(structuredClone(inputs), taps_up)) &&
          reconcile(objects, objects).length === 0
        );
      }),
      { numRuns: 300, seed: 1 },
    );
  },
);

t.test('what routers say is told again on the tap of their uplink, in the name of one of them', async (t) => {
  const advertisement = {
    router: 'fe80::a',
    lifetime_s: 1800,
    managed: true,
    other: false,
    prefixes: [
      { prefix: 'fd55::/64', on_link: true, autonomous: true, valid_s: 60, preferred_s: 30, said: 2 },
    ],
  };
  const on = { interface: 'host-eth0' };
  const objects = desiredNode(nodeOf({ repeated: new Map([['eth0', advertisement]]) }), true);
  const of_tap = objects.filter((object) => 'interface' in object && object.interface === 'host-eth0');
  t.match(
    of_tap.filter(({ kind }) => ['link_local', 'ra_prefix', 'ra_config'].includes(kind)),
    [
      { kind: 'link_local', ...on, address: 'fe80::a' },
      { kind: 'ra_prefix', ...on, prefix: 'fd55::/64', valid_s: 60, said: 2 },
      { kind: 'ra_config', ...on, lifetime_s: 1800, managed: true, other: false },
    ],
  );
  t.notOk(of_tap.some((object) => object.kind === 'interface_flag' && object.flag === 'ra_suppressed'));
  const silent = desiredNode(nodeOf({ repeated: new Map([['eth9', advertisement]]) }), true);
  t.notOk(silent.some(({ kind }) => kind === 'ra_config'));
});
