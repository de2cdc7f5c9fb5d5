import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import {
  type ClusterPrefixes,
  fingerprint,
  type HostOwn,
  hostOwn,
  hostTapChanges,
  hostTapLinkLocal,
  hostTapRoutes,
  own_route_protocol,
  type Taps,
  tapLikeLink,
  withinOtherNetworks,
} from '../../src/desired/host-tap.js';
import { hostTapMac, type Uplink } from '../../src/desired/node-inputs.js';
import type { Route as LinuxRoute, NetworkChange } from '../../src/linux/network.js';
import { type PlacedRoute, placing, RouteIndex } from '../../src/linux/routes.js';
import { address, linuxRoute, uplink_mac, uplinkOf } from './sample.js';

const tap = 9;
/** The uplink is link 2. */
const taps: Taps = new Map([[2, tap]]);
const no_cluster: ClusterPrefixes = { prefixes: [], tap_address: '169.254.0.1/32' };

/** A change in words: `address 10.0.0.2/24`, `route 0.0.0.0/0 via 10.0.0.1 dev 9 metric 0`. */
function inWords(change: NetworkChange): string {
  switch (change.do) {
    case 'replace_address':
    case 'delete_address':
      return `${change.do} ${change.address.prefix} dev ${change.address.link}`;
    case 'set_neighbour':
      return `${change.do} ${change.neighbour.address} ${change.neighbour.mac} dev ${change.neighbour.link}`;
    case 'set_link':
      return `${change.do} ${change.up ? 'up' : ''} ${change.mtu} dev ${change.link}`;
    default:
      return change.do;
  }
}

function routeInWords({ prefix, metric, next_hops = [] }: PlacedRoute): string {
  const hops = next_hops.map(({ gateway, oif }) => `${gateway ? `via ${gateway} ` : ''}dev ${oif}`);
  return `route ${prefix} ${hops.join(' + ')} metric ${metric}`;
}

/** All that makes the tap what the uplink was. */
function dressing(uplink: Uplink, taps: Taps, link_locals: readonly string[] = []): string[] {
  return [
    ...hostTapChanges(uplink, taps, link_locals).map(inWords),
    ...hostTapRoutes(uplink, taps, [], no_cluster).map(routeInWords),
  ];
}

/** What a tap shows, as if nothing of it had been captured. */
function shown(changes: Partial<HostOwn>) {
  const nothing = { addresses: [], routes: [], foreign_routes: [], nexthops: [], neighbours: [] };
  return { ...nothing, host_addresses: [] as string[], ...changes };
}

function captured(uplink: Uplink) {
  return { ...uplink, ...shown({ addresses: uplink.addresses, routes: uplink.routes }) };
}

t.test('a dual-stack tap', async (t) => {
  t.same(dressing(uplinkOf(), taps, ['fe80::aa/64', 'fe80::1:2/64']), [
    'set_link up 1500 dev 9',
    'delete_address fe80::aa/64 dev 9',
    'replace_address 10.0.0.2/24 dev 9',
    'replace_address fe80::1:2/64 dev 9',
    'replace_address fd00::2/64 dev 9',
    'set_neighbour fe80::1 02:ca:11:c0:fd:00 dev 9',
    'set_neighbour fe80::ca:11ff:fec0:fd00 02:ca:11:c0:fd:00 dev 9',
    'route fd00::/64 via fe80::ca:11ff:fec0:fd00 dev 9 metric 64',
    'route fd00::/64 dev 9 metric 256',
    'route 10.0.0.0/24 dev 9 metric 0',
    'route 0.0.0.0/0 via 10.0.0.1 dev 9 metric 0',
    'route ::/0 via fe80::1 dev 9 metric 1024',
  ]);
});

t.test(
  'the addresses keep all that Linux knew of them but their lifetimes; those of IPv6 are usable at once',
  async (t) => {
    const ip4 = address('10.0.0.2/24', {
      flags: 0x200,
      broadcast: '10.0.0.255',
      label: 'eth0',
      valid_s: 3600,
      preferred_s: 1800,
    });
    const ip6 = address('fd00::2/64', { flags: 0x100, valid_s: 7200 });
    const changes = hostTapChanges(uplinkOf({ addresses: [ip4, ip6], routes: [] }), taps, []);
    const { valid_s: _, preferred_s: __, ...lasting4 } = ip4;
    const { valid_s: ___, ...lasting6 } = ip6;
    t.same(changes.slice(1, 3), [
      { do: 'replace_address', address: { ...lasting4, link: tap } },
      { do: 'replace_address', address: { ...lasting6, link: tap, flags: 0x102 } },
    ]);
  },
);

t.test('a link-local address that brings no route of its own has the one that somebody added', async (t) => {
  const route = linuxRoute('fe80::/64', [], { protocol: 2, metric: 1024 });
  const onTap = (flags: number): string[] => {
    const addresses = [address('fe80::1:2/64', { flags })];
    return hostTapRoutes(uplinkOf({ addresses, routes: [route] }), taps, [], no_cluster).map(routeInWords);
  };
  t.same(onTap(0x280), ['route fe80::/64 dev 9 metric 1024']);
  t.same(onTap(0x80), [], 'the kernel makes it');
});

t.test('an IPv6 address that was deprecated is, one that another node has is on no tap', async (t) => {
  const addresses = [
    address('10.0.0.8/24', { preferred_s: 0 }),
    address('fd00::8/64', { valid_s: 60, preferred_s: 0 }),
    address('fd00::9/64', { flags: 0x88 }),
  ];
  t.match(hostTapChanges(uplinkOf({ addresses, routes: [] }), taps, []).slice(1, 3), [
    { address: { prefix: '10.0.0.8/24', preferred_s: 0, valid_s: undefined } },
    { address: { prefix: 'fd00::8/64', preferred_s: 0, valid_s: undefined } },
  ]);
  t.notOk(dressing(uplinkOf({ addresses, routes: [] }), taps).some((text) => text.includes('fd00::9/64')));
});

t.test(
  'the tap of an uplink without a link-local address has none, and no neighbour without IPv6',
  async (t) => {
    const uplink = uplinkOf({ addresses: [address('10.0.0.2/24')], routes: [] });
    t.same(dressing(uplink, taps, ['fe80::aa/64']), [
      'set_link up 1500 dev 9',
      'delete_address fe80::aa/64 dev 9',
      'replace_address 10.0.0.2/24 dev 9',
    ]);
  },
);

t.test(
  'what the tap has of the device: names, group, queue; link-local addresses by MAC only as they were',
  async (t) => {
    const network = new FakeHostNetwork();
    const index = network.addVirtual({ name: 'eth0', mac: uplink_mac, kind: 'tun' });
    const there = network.open().link(index)!;
    const link = {
      ...there,
      index: 2,
      kind: 'veth',
      txqlen: 500,
      group: 42,
      alias: 'lan',
      altnames: ['enp1s0'],
    };
    t.same(tapLikeLink(link, there, [address('fe80::ff:fe00:1/64')]), [
      { do: 'set_link', link: index, txqlen: 500 },
      { do: 'set_link', link: index, group: 42 },
      { do: 'set_link', link: index, alias: 'lan' },
      { do: 'add_altname', link: index, altname: 'enp1s0' },
    ]);
    t.same(tapLikeLink(there, there, [address('fe80::ff:fe00:1/64')]), [], 'nothing twice');
    t.same(
      tapLikeLink(there, there, [address('fe80::77/64')]),
      [{ do: 'set_link', link: index, addrgen_mode: 1 }],
      'the kernel would make another one',
    );
  },
);

t.test(
  'neighbours that somebody has set are behind VPP; what the host answers for it answers for',
  async (t) => {
    const set = { link: 2, family: 4, state: 0x80, flags: 0 } as const;
    const neighbours = [
      { ...set, address: '10.0.0.50', mac: '02:00:00:00:00:50' },
      { ...set, address: '10.0.0.60', state: 0, flags: 8 },
    ];
    const uplink = uplinkOf({ addresses: [address('10.0.0.2/24')], routes: [], neighbours });
    const changes = hostTapChanges(uplink, taps, []).slice(2);
    t.match(changes, [
      { neighbour: { address: '10.0.0.50', mac: '02:ca:11:c0:fd:00', link: tap } },
      { neighbour: { address: '10.0.0.60', mac: undefined, flags: 8, link: tap } },
    ]);
    const on_tap = changes.flatMap((change) => (change.do === 'set_neighbour' ? [change.neighbour] : []));
    const read = hostOwn({ ...captured(uplink), neighbours }, taps, {
      ...shown({ addresses: uplink.addresses }),
      neighbours: on_tap.map((neighbour) => ({ state: 0x80, flags: 0, ...neighbour })),
    });
    t.same(read?.neighbours, neighbours, 'and are read back with their own MAC');
  },
);

t.test(
  'a gateway with an address of its own is reached on the link itself, before the routes through it',
  async (t) => {
    const uplink = uplinkOf({
      addresses: [address('fd00::2/64')],
      routes: [
        linuxRoute('::/0', ['fd00::1'], { metric: 100 }),
        linuxRoute('fd08::/48', ['fd00::1', 'fd00::9']),
        linuxRoute('fd00::/64', [], { protocol: 2, metric: 256 }),
      ],
    });
    t.same(dressing(uplink, taps).slice(2), [
      'set_neighbour fd00::1 02:ca:11:c0:fd:00 dev 9',
      'set_neighbour fd00::9 02:ca:11:c0:fd:00 dev 9',
      'set_neighbour fe80::ca:11ff:fec0:fd00 02:ca:11:c0:fd:00 dev 9',
      'route fd00::1/128 dev 9 metric 64',
      'route fd00::9/128 dev 9 metric 64',
      'route fd00::/64 via fe80::ca:11ff:fec0:fd00 dev 9 metric 64',
      'route fd00::/64 dev 9 metric 256',
      'route fd08::/48 via fd00::1 dev 9 + via fd00::9 dev 9 metric 1024',
      'route ::/0 via fd00::1 dev 9 metric 100',
    ]);
  },
);

t.test('on-link prefixes are sent to VPP once each, hosts alone are not', async (t) => {
  const addresses = ['fd00::2/64', 'fd00::3/64', 'fd09::1/128', 'fe80::1:2/64'].map((prefix) =>
    address(prefix),
  );
  t.same(
    dressing(uplinkOf({ addresses, routes: [], index: 3 }), taps).filter((text) => text.startsWith('route')),
    ['route fd00::/64 via fe80::ca:11ff:fec0:fd03 dev 9 metric 64'],
  );
});

t.test('next hops through another uplink lead through its tap, and its gateways are its own', async (t) => {
  const both = new Map([
    [2, tap],
    [3, 10],
  ]);
  const shared = linuxRoute('fd08::/48', ['fd00::1', 'fd02::1 dev 3']);
  const uplink = uplinkOf({ addresses: [address('fd00::2/128')], routes: [shared] });
  t.same(dressing(uplink, both).slice(2), [
    'set_neighbour fd00::1 02:ca:11:c0:fd:00 dev 9',
    'set_neighbour fe80::ca:11ff:fec0:fd00 02:ca:11:c0:fd:00 dev 9',
    'route fd00::1/128 dev 9 metric 64',
    'route fd08::/48 via fd00::1 dev 9 + via fd02::1 dev 10 metric 1024',
  ]);
});

t.test(
  'a route with attributes that cannot be given back is left out: one that does something else is worse than none',
  async (t) => {
    const routes = [linuxRoute('10.8.0.0/16', ['10.0.0.1'], { unsupported: ['encap'] })];
    t.same(hostTapRoutes(uplinkOf({ addresses: [], routes }), taps, [], no_cluster), []);
  },
);

t.test(
  'what the host has on the tap by now is read as if it were on the uplink, without what is ours',
  async (t) => {
    const uplink = uplinkOf();
    const read = hostOwn(
      captured(uplink),
      taps,
      shown({
        addresses: [address('10.0.0.77/24', { link: tap }), address('fe80::aa/64', { link: tap })],
        routes: [
          linuxRoute('0.0.0.0/0', ['10.0.0.1 dev 9', '10.7.0.1 dev 7']),
          linuxRoute('fd00::/64', ['dev 9'], { protocol: own_route_protocol }),
          linuxRoute('ff00::/8', ['dev 9']),
        ],
      }),
    );
    t.same(
      read?.addresses.map(({ prefix, link }) => `${prefix} ${link}`),
      ['10.0.0.77/24 2', 'fe80::1:2/64 2'],
      'the link-local address is that of the uplink',
    );
    t.same(read?.routes, [linuxRoute('0.0.0.0/0', ['10.0.0.1', '10.7.0.1 dev 7'])]);
    t.equal(
      hostOwn(captured(uplink), taps, shown({ addresses: [address('fe80::aa/64')] })),
      undefined,
      'a tap without an address tells nothing',
    );
  },
);

t.test('what the tap of a host with many routes shows is read once', async (t) => {
  const many = Array.from({ length: 2000 }, (_, at) =>
    linuxRoute(`20.${at >> 8}.${at & 255}.0/24`, ['10.0.0.1 dev 7']),
  );
  let looked_at = 0;
  const counted = many.map((route) => ({
    ...route,
    get prefix() {
      looked_at += 1;
      return route.prefix;
    },
  }));
  const addresses = [address('10.0.0.2/24')];
  const read = hostOwn(
    { ...captured(uplinkOf({ addresses, routes: counted })), routes: counted },
    taps,
    shown({ addresses, routes: many }),
  );
  t.equal(read?.routes.length, many.length);
  t.ok(looked_at < 10 * many.length, `${looked_at} looks at ${many.length} routes`);
});

t.test(
  'a lifetime that the tap was not given is that of the uplink; one that the host has set since counts',
  async (t) => {
    const dynamic = address('10.0.0.2/24', { flags: 0, valid_s: 3600, preferred_s: 1800 });
    const learned = linuxRoute('::/0', ['fe80::1'], { expires_s: 1700, protocol: 9 });
    const uplink = uplinkOf({ addresses: [dynamic], routes: [learned] });
    const read = (on_tap: Partial<typeof dynamic>, route: Partial<typeof learned>) =>
      hostOwn(
        captured(uplink),
        taps,
        shown({
          addresses: [address('10.0.0.2/24', { link: tap, ...on_tap })],
          routes: [linuxRoute('::/0', ['fe80::1 dev 9'], { protocol: 9, ...route })],
        }),
      );
    t.match(read({}, {}), { addresses: [dynamic], routes: [learned] });
    t.match(read({ valid_s: 60, preferred_s: 30 }, { expires_s: 5 }), {
      addresses: [{ valid_s: 60, preferred_s: 30, link: 2 }],
      routes: [{ expires_s: 5 }],
    });
  },
);

t.test('two states are told apart by what the host has set, and not by what the kernel adds', async (t) => {
  const state = (prefix: string, route: Partial<LinuxRoute> = {}, flags = 0x80) =>
    fingerprint([
      shown({
        addresses: [address(prefix, { flags })],
        routes: [linuxRoute('10.8.0.0/16', ['10.0.0.1'], { table: 100, ...route })],
      }),
    ]);
  const usual = state('10.0.0.2/24');
  t.equal(state('10.0.0.2/24', { flags: 16, expires_s: 3 }, 0), usual);
  t.not(state('10.0.0.3/24'), usual);
  t.not(fingerprint([{ ...shown({}), host_addresses: ['198.51.100.7'] }]), fingerprint([shown({})]));
  t.not(state('10.0.0.2/24', {}, 0xa0), usual, 'deprecated by now');
  t.not(state('10.0.0.2/24', { metric: 7 }), usual);
  t.not(state('10.0.0.2/24', { next_hops: [{ oif: 2, gateway: '10.0.0.9' }] }), usual);
});

t.test('a next hop through the tap of another uplink is one through that uplink', async (t) => {
  const both = new Map([
    [2, tap],
    [3, 10],
  ]);
  const shared = linuxRoute('0.0.0.0/0', ['10.0.0.1 dev 9', '10.1.0.1 dev 10']);
  const on_tap = shown({ addresses: [address('10.0.0.2/24')], routes: [shared] });
  t.same(hostOwn(captured(uplinkOf()), both, on_tap)?.routes, [
    linuxRoute('0.0.0.0/0', ['10.0.0.1', '10.1.0.1 dev 3']),
  ]);
});

t.test('next hops through other links stay there, and what only a dump shows is left out', async (t) => {
  const shared = linuxRoute('10.8.0.0/16', ['10.0.0.1', '10.7.0.1 dev 7'], {
    flags: 16,
    expires_s: 5,
    prefsrc: '10.0.0.2',
  });
  t.same(hostTapRoutes(uplinkOf({ addresses: [], routes: [shared] }), taps, [], no_cluster), [
    {
      family: 4,
      prefix: '10.8.0.0/16',
      table: 254,
      type: 'unicast',
      protocol: 4,
      scope: 0,
      metric: 0,
      prefsrc: '10.0.0.2',
      next_hops: [
        { oif: tap, gateway: '10.0.0.1' },
        { oif: 7, gateway: '10.7.0.1' },
      ],
    },
  ]);
});

t.test(
  'prefixes of the cluster are reached through the tap of the main uplink, with room for encapsulation',
  async (t) => {
    const cluster = { prefixes: ['10.96.0.1/16', 'fd00:96::/112'], tap_address: '169.254.0.1/32' };
    const dressed = (is_main: boolean, own = 'fd00::2/128') =>
      hostTapRoutes(uplinkOf({ addresses: [address(own)], routes: [], is_main }), taps, [], cluster);
    t.match(dressed(true), [
      {
        prefix: '10.96.0.0/16',
        first: true,
        metrics: { mtu: 1440 },
        next_hops: [{ oif: tap, gateway: '169.254.0.1', onlink: true }],
      },
      {
        prefix: 'fd00:96::/112',
        metric: 64,
        metrics: { mtu: 1440 },
        next_hops: [{ oif: tap, gateway: 'fe80::ca:11ff:fec0:fd00', onlink: true }],
      },
    ]);
    t.same(dressed(false), []);
    t.equal(dressed(true, '10.0.0.2/32').length, 1, 'those of IPv6 only where the host has it');
  },
);

t.test('pods are reached as services are; packets are smaller where a pool is encapsulated', async (t) => {
  const routes = (pods: ClusterPrefixes['pods'], changes = {}) =>
    hostTapRoutes(
      uplinkOf({ addresses: [address('10.0.0.2/24'), address('fd00::2/64')], routes: [], ...changes }),
      taps,
      [],
      { ...no_cluster, prefixes: ['10.96.0.0/16'], ...(pods && { pods }) },
    ).flatMap(({ prefix, metrics, protocol }) => (metrics ? [`${prefix} ${metrics.mtu} ${protocol}`] : []));
  const services = '10.96.0.0/16 1440 77';
  t.same(routes(undefined), [services]);
  const prefixes = ['10.1.0.0/16', 'fd01::/48'];
  t.same(routes({ prefixes, encapsulated: false }), [services, '10.1.0.0/16 1500 77', 'fd01::/48 1500 77']);
  t.same(routes({ prefixes, encapsulated: true }), [services, '10.1.0.0/16 1440 77', 'fd01::/48 1440 77']);
  t.same(
    routes({ prefixes: ['10.1.0.0/16'], encapsulated: true }, { mtu: 1499 }),
    ['10.96.0.0/16 1438 77', '10.1.0.0/16 1438 77'],
    'never of an odd length, which VPP would damage',
  );
  t.same(routes({ prefixes, encapsulated: true }, { is_main: false }), []);
  t.same(routes({ prefixes: ['10.96.0.0/16'], encapsulated: false }), [services], 'the same prefix once');
  // What lies on the link, the whole of it, what is around it, and everything.
  for (const [prefix, has_route] of [
    ['10.0.0.128/25', false],
    ['10.0.0.0/24', false],
    ['10.0.0.0/23', true],
    ['10.0.1.0/24', true],
    ['0.0.0.0/0', false],
    ['fd00::/64', false],
    ['fd00::1:0/112', false],
    ['fd00::/48', true],
    ['::/0', false],
  ] as const)
    t.equal(routes({ prefixes: [prefix], encapsulated: false }).length, has_route ? 2 : 1, prefix);
});

t.test('what lies in a network of another link of the host stays there, and is named', async (t) => {
  const cluster: ClusterPrefixes = {
    ...no_cluster,
    prefixes: ['10.96.0.1/16'],
    services: ['10.97.0.0/24', '10.98.0.0/16'],
    pods: { prefixes: ['192.168.7.0/25', '192.168.0.0/16', 'fd07::/64', '0.0.0.0/0'], encapsulated: false },
    other_networks: ['192.168.7.0/24', '10.97.0.0/16', 'fd07::/48'],
  };
  const uplink = uplinkOf({ addresses: [address('10.0.0.2/24'), address('fd00::2/64')], routes: [] });
  t.same(
    hostTapRoutes(uplink, taps, [], cluster).flatMap(({ prefix, metrics }) => (metrics ? [prefix] : [])),
    ['10.98.0.0/16', '192.168.0.0/16'],
  );
  t.same(withinOtherNetworks(cluster), ['10.97.0.0/24', '192.168.7.0/25', 'fd07::/64']);
  t.same(withinOtherNetworks({ ...cluster, services: [] }), ['192.168.7.0/25', 'fd07::/64']);
  t.same(withinOtherNetworks(no_cluster), []);
});

t.test('services are reached where ServiceCIDRs say, else where the environment says', async (t) => {
  const routes = (services: readonly string[] | undefined, changes = {}) =>
    hostTapRoutes(
      uplinkOf({ addresses: [address('10.0.0.2/24'), address('fd00::2/64')], routes: [], ...changes }),
      taps,
      [],
      { ...no_cluster, prefixes: ['10.96.0.1/16'], ...(services && { services }) },
    ).flatMap(({ prefix, metrics }) => (metrics ? [`${prefix} ${metrics.mtu}`] : []));
  t.same(routes(undefined), ['10.96.0.0/16 1440']);
  t.same(routes([]), ['10.96.0.0/16 1440']);
  t.same(routes(['10.97.0.0/16', 'fd96::/112']), ['10.97.0.0/16 1440', 'fd96::/112 1440']);
  t.same(
    routes(['10.97.0.0/16', '0.0.0.0/0', '10.0.0.0/25', 'fd00::/64']),
    ['10.97.0.0/16 1440'],
    'none that takes the link or everything',
  );
  t.same(
    routes(undefined, { addresses: [address('10.96.0.2/16')] }),
    [],
    'nor where the environment says it',
  );
  t.same(routes(['10.97.0.0/16'], { is_main: false }), []);
  t.equal(
    routes(Array.from({ length: 300 }, (_, at) => `10.97.${at >> 4}.${(at & 15) * 16}/28`)).length,
    256,
  );
});

t.test('the link-local address of VPP is the one that follows from its MAC', async (t) => {
  for (const index of [0, 1, 15, 16, 255]) {
    const network = new FakeHostNetwork();
    const link = network.addVirtual({ name: 'tap', mac: hostTapMac(index), kind: 'tun' });
    const own = network.open();
    own.apply({ do: 'set_link', link, up: true });
    t.same(
      own.addresses(link).map(({ prefix }) => prefix),
      [`${hostTapLinkLocal(index)}/64`],
    );
  }
});

t.test('Linux takes all changes, in this order, and a second time', async (t) => {
  const network = new FakeHostNetwork();
  const link = network.addVirtual({ name: 'eth0', mac: uplink_mac, kind: 'tun' });
  const own = network.open();
  own.apply({ do: 'set_link', link, up: true });
  const uplink = uplinkOf({
    routes: [
      linuxRoute('::/0', ['fd00::1']),
      linuxRoute('10.9.0.0/16', ['10.0.0.7'], { prefsrc: '10.0.0.2' }),
      ...uplinkOf().routes.slice(0, 4),
    ],
  });
  const dress = () =>
    own
      .batch([
        ...hostTapChanges(
          uplink,
          new Map([[2, link]]),
          own.addresses(link).flatMap(({ prefix }) => (prefix.startsWith('fe80:') ? [prefix] : [])),
        ),
      ])
      .concat(
        hostTapRoutes(uplink, new Map([[2, link]]), [], {
          ...no_cluster,
          prefixes: ['10.96.0.0/16', 'fd00:96::/112'],
        }).flatMap((route) => own.batch(placing(route, new RouteIndex(own.routes()).at(route)))),
      )
      .filter((error) => error !== undefined);
  t.same(dress(), []);
  const once = network.snapshot();
  t.same(
    own.addresses(link).map(({ prefix }) => prefix),
    ['10.0.0.2/24', 'fe80::1:2/64', 'fd00::2/64'],
  );
  t.same(dress(), []);
  t.same(network.snapshot(), once);
});
