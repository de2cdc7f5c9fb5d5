import t from 'tap';
import type { NodeInputs, Uplink } from '../../src/desired/node-inputs.js';
import { desiredNode } from '../../src/desired/uplink.js';
import { address, linuxRoute, nodeOf, routesOf, uplinkOf } from './sample.js';

/** Routes of the default table when Linux had these through a main uplink with 10.0.0.2/24 and fd00::2/64. */
function routesBy(routes: Uplink['routes'], changes: Partial<NodeInputs> = {}): string[] {
  return routesOf(nodeOf({ uplinks: [uplinkOf({ routes })], ...changes }));
}

t.test('the routes of Linux', async (t) => {
  const cases: { name: string; linux: Uplink['routes']; vpp: string[] }[] = [
    {
      name: 'by a gateway',
      linux: [linuxRoute('10.8.0.0/16', ['10.0.0.7'])],
      vpp: ['10.8.0.0/16 main-eth0 10.0.0.7'],
    },
    {
      name: 'without gateway: attached, whoever answers for the address',
      linux: [
        linuxRoute('10.8.0.1/32'),
        linuxRoute('10.9.0.0/16'),
        linuxRoute('fd08::1/128'),
        linuxRoute('fd09::/64'),
      ],
      vpp: [
        '10.8.0.1/32 main-eth0 0.0.0.0',
        '10.9.0.0/16 main-eth0 0.0.0.0',
        'fd08::1/128 main-eth0 ::',
        'fd09::/64 main-eth0 ::',
      ],
    },
    {
      name: 'the best metric of a prefix wins, whatever the order; of equals the first',
      linux: [
        linuxRoute('0.0.0.0/0', ['10.0.0.9'], { metric: 200 }),
        linuxRoute('0.0.0.0/0', ['10.0.0.1'], { metric: 100 }),
        linuxRoute('0.0.0.0/0', ['10.0.0.8'], { metric: 100 }),
        linuxRoute('10.8.0.0/16', ['10.0.0.1'], { metric: 1 }),
        linuxRoute('10.8.0.0/16', ['10.0.0.9'], { metric: 2 }),
      ],
      vpp: ['0.0.0.0/0 main-eth0 10.0.0.1', '10.8.0.0/16 main-eth0 10.0.0.1'],
    },
    {
      name: 'all next hops of a multipath route that lead through uplinks',
      linux: [linuxRoute('0.0.0.0/0', ['10.0.0.1', '10.0.0.9', '10.77.0.1 dev 7'])],
      vpp: ['0.0.0.0/0 main-eth0 10.0.0.1 + main-eth0 10.0.0.9'],
    },
    { name: 'none through other links', linux: [linuxRoute('10.8.0.0/16', ['10.77.0.1 dev 7'])], vpp: [] },
    {
      name: 'an IPv4 route by an IPv6 gateway',
      linux: [linuxRoute('0.0.0.0/0', ['fe80::1'])],
      vpp: ['0.0.0.0/0 main-eth0 fe80::1'],
    },
    {
      name: 'connected ones come with the addresses, link-local ones with IPv6',
      linux: [
        linuxRoute('10.0.0.0/24', [], { protocol: 2 }),
        linuxRoute('fd00::/64', [], { protocol: 2 }),
        linuxRoute('fe80::/64', [], { protocol: 2 }),
      ],
      vpp: [],
    },
    {
      name: 'what does not forward stays in Linux',
      linux: [
        linuxRoute('10.8.0.0/16', [], { type: 'blackhole' }),
        linuxRoute('10.9.0.0/16', [], { type: 'multicast' }),
        linuxRoute('10.10.0.0/16', ['10.0.0.1'], { table: 100 }),
      ],
      vpp: [],
    },
  ];
  for (const { name, linux, vpp } of cases) t.same(routesBy(linux), vpp, name);
  t.same(
    routesOf(
      nodeOf({
        uplinks: [
          uplinkOf({
            addresses: [address('fd00::2/128')],
            routes: [linuxRoute('fd00::2/128', [], { protocol: 2 })],
          }),
        ],
      }),
    ),
    [],
    'the route that the kernel made for an address that VPP has with another length is no route of VPP',
  );
});

t.test('configured default gateways', async (t) => {
  const both = { default_gateways: ['10.0.0.254', 'fd00::fe'] };
  t.same(routesBy([], both), ['0.0.0.0/0 main-eth0 10.0.0.254', '::/0 main-eth0 fd00::fe'], 'one per family');
  t.same(
    routesBy([linuxRoute('0.0.0.0/0', ['10.0.0.1'], { metric: 100 })], both),
    ['0.0.0.0/0 main-eth0 10.0.0.1', '::/0 main-eth0 fd00::fe'],
    'where Linux had none',
  );
  t.same(
    routesBy([linuxRoute('0.0.0.0/0', ['10.0.0.1'], { table: 100 })], both),
    ['0.0.0.0/0 main-eth0 10.0.0.254', '::/0 main-eth0 fd00::fe'],
    'one of another table is none',
  );
  const second = uplinkOf({
    name: 'eth1',
    index: 1,
    is_main: false,
    link: 3,
    addresses: [address('10.2.0.2/24')],
    routes: [linuxRoute('0.0.0.0/0', ['10.2.0.1 dev 3'], { metric: 50 })],
  });
  t.same(
    routesOf(nodeOf({ uplinks: [uplinkOf({ routes: [] }), second], ...both })),
    ['0.0.0.0/0 main-eth0 10.0.0.254', '::/0 main-eth0 fd00::fe'],
    'through the main uplink, also where another one had a default route',
  );
  t.same(
    routesOf(nodeOf({ uplinks: [uplinkOf(), { ...second, routes: [] }], ...both })),
    ['0.0.0.0/0 main-eth0 10.0.0.1', '::/0 main-eth0 fe80::1'],
    'and through no other',
  );
});

t.test('of equal default routes VPP takes that of the router which speaks, while it is one', async (t) => {
  const by = (gateway: string) => linuxRoute('::/0', [gateway], { protocol: 9 });
  const uplink = uplinkOf({ routes: [by('fe80::a'), by('fe80::b')] });
  const next_hop = (lifetime_s: number) => {
    const said = { router: 'fe80::b', lifetime_s, managed: false, other: false, prefixes: [] };
    const objects = desiredNode(nodeOf({ uplinks: [uplink], repeated: new Map([['eth0', said]]) }), true);
    const [route] = objects.flatMap((object) =>
      object.kind === 'route' && object.table_id === 0 && object.prefix === '::/0' ? [object] : [],
    );
    return route?.paths.map((path) => path.via === 'interface' && path.next_hop);
  };
  t.same(next_hop(1800), ['fe80::b']);
  t.same(next_hop(0), ['fe80::a']);
});
