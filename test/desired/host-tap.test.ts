import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import {
  type ClusterPrefixes,
  fingerprint,
  hostOwn,
  hostTapChanges,
  hostTapLinkLocal,
  own_route_protocol,
  type Taps,
} from '../../src/desired/host-tap.js';
import { hostTapMac } from '../../src/desired/uplink.js';
import type { Route as LinuxRoute, NetworkChange } from '../../src/linux/network.js';
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
    case 'replace_route': {
      const { prefix, metric, next_hops = [] } = change.route;
      const hops = next_hops.map(({ gateway, oif }) => `${gateway ? `via ${gateway} ` : ''}dev ${oif}`);
      return `${change.do} ${prefix} ${hops.join(' + ')} metric ${metric}`;
    }
    case 'set_neighbour':
      return `${change.do} ${change.neighbour.address} ${change.neighbour.mac} dev ${change.neighbour.link}`;
    case 'set_link':
      return `${change.do} ${change.up ? 'up' : ''} ${change.mtu} dev ${change.link}`;
    default:
      return change.do;
  }
}

t.test('a dual-stack tap', async (t) => {
  const changes = hostTapChanges(uplinkOf(), taps, ['fe80::aa/64', 'fe80::1:2/64'], no_cluster);
  t.same(changes.map(inWords), [
    'set_link up 1500 dev 9',
    'replace_address 10.0.0.2/24 dev 9',
    'replace_address fd00::2/64 dev 9',
    'replace_address fe80::1:2/64 dev 9',
    'delete_address fe80::aa/64 dev 9',
    'set_neighbour fe80::1 02:ca:11:c0:fd:00 dev 9',
    'set_neighbour fe80::ca:11ff:fec0:fd00 02:ca:11:c0:fd:00 dev 9',
    'replace_route fd00::/64 via fe80::ca:11ff:fec0:fd00 dev 9 metric 64',
    'replace_route 10.0.0.0/24 dev 9 metric 0',
    'replace_route fd00::/64 dev 9 metric 256',
    'replace_route 0.0.0.0/0 via 10.0.0.1 dev 9 metric 0',
    'replace_route ::/0 via fe80::1 dev 9 metric 1024',
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
    const changes = hostTapChanges(uplinkOf({ addresses: [ip4, ip6], routes: [] }), taps, [], no_cluster);
    const { valid_s: _, preferred_s: __, ...lasting4 } = ip4;
    const { valid_s: ___, ...lasting6 } = ip6;
    t.same(changes.slice(1, 3), [
      { do: 'replace_address', address: { ...lasting4, link: tap } },
      { do: 'replace_address', address: { ...lasting6, link: tap, flags: 0x102 } },
    ]);
  },
);

t.test('a tap without IPv6 keeps the link-local address that the kernel gave it', async (t) => {
  const changes = hostTapChanges(
    uplinkOf({ addresses: [address('10.0.0.2/24')], routes: [] }),
    taps,
    ['fe80::aa/64'],
    no_cluster,
  );
  t.notOk(changes.some((change) => change.do === 'delete_address'));
});

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
    t.same(hostTapChanges(uplink, taps, [], no_cluster).map(inWords).slice(2), [
      'set_neighbour fd00::1 02:ca:11:c0:fd:00 dev 9',
      'set_neighbour fd00::9 02:ca:11:c0:fd:00 dev 9',
      'set_neighbour fe80::ca:11ff:fec0:fd00 02:ca:11:c0:fd:00 dev 9',
      'replace_route fd00::1/128 dev 9 metric 64',
      'replace_route fd00::9/128 dev 9 metric 64',
      'replace_route fd00::/64 via fe80::ca:11ff:fec0:fd00 dev 9 metric 64',
      'replace_route fd00::/64 dev 9 metric 256',
      'replace_route ::/0 via fd00::1 dev 9 metric 100',
      'replace_route fd08::/48 via fd00::1 dev 9 + via fd00::9 dev 9 metric 1024',
    ]);
  },
);

t.test('on-link prefixes are sent to VPP once each, hosts alone are not', async (t) => {
  const addresses = ['fd00::2/64', 'fd00::3/64', 'fd09::1/128', 'fe80::1:2/64'].map((prefix) =>
    address(prefix),
  );
  const changes = hostTapChanges(uplinkOf({ addresses, routes: [], index: 3 }), taps, [], no_cluster);
  t.same(
    changes.map(inWords).filter((text) => text.startsWith('replace_route')),
    ['replace_route fd00::/64 via fe80::ca:11ff:fec0:fd03 dev 9 metric 64'],
  );
});

t.test('next hops through another uplink lead through its tap, and its gateways are its own', async (t) => {
  const both = new Map([
    [2, tap],
    [3, 10],
  ]);
  const shared = linuxRoute('fd08::/48', ['fd00::1', 'fd02::1 dev 3']);
  const uplink = uplinkOf({ addresses: [], routes: [shared] });
  t.same(hostTapChanges(uplink, both, [], no_cluster).map(inWords).slice(1), [
    'set_neighbour fd00::1 02:ca:11:c0:fd:00 dev 9',
    'set_neighbour fe80::ca:11ff:fec0:fd00 02:ca:11:c0:fd:00 dev 9',
    'replace_route fd00::1/128 dev 9 metric 64',
    'replace_route fd08::/48 via fd00::1 dev 9 + via fd02::1 dev 10 metric 1024',
  ]);
});

t.test(
  'a route with attributes that cannot be given back is left out: one that does something else is worse than none',
  async (t) => {
    const routes = [linuxRoute('10.8.0.0/16', ['10.0.0.1'], { unsupported: ['encap'] })];
    const changes = hostTapChanges(uplinkOf({ addresses: [], routes }), taps, [], no_cluster);
    t.notOk(changes.some((change) => change.do === 'replace_route'));
  },
);

t.test(
  'what the host has on the tap by now is read as if it were on the uplink, without what is ours',
  async (t) => {
    const uplink = uplinkOf();
    const read = hostOwn(
      uplink,
      taps,
      [address('10.0.0.77/24', { link: tap }), address('fe80::aa/64', { link: tap })],
      [
        linuxRoute('0.0.0.0/0', ['10.0.0.1 dev 9', '10.7.0.1 dev 7']),
        linuxRoute('fd00::/64', ['dev 9'], { protocol: own_route_protocol }),
        linuxRoute('ff00::/8', ['dev 9']),
      ],
    );
    t.same(
      read?.addresses.map(({ prefix, link }) => `${prefix} ${link}`),
      ['10.0.0.77/24 2', 'fe80::1:2/64 2'],
      'the link-local address is that of the uplink',
    );
    t.same(read?.routes, [linuxRoute('0.0.0.0/0', ['10.0.0.1', '10.7.0.1 dev 7'])]);
    t.equal(
      hostOwn(uplink, taps, [address('fe80::aa/64')], []),
      undefined,
      'a tap without an address tells nothing',
    );
  },
);

t.test(
  'a lifetime that the tap was not given is that of the uplink; one that the host has set since counts',
  async (t) => {
    const dynamic = address('10.0.0.2/24', { flags: 0, valid_s: 3600, preferred_s: 1800 });
    const learned = linuxRoute('::/0', ['fe80::1'], { expires_s: 1700, protocol: 9 });
    const uplink = uplinkOf({ addresses: [dynamic], routes: [learned] });
    const read = (on_tap: Partial<typeof dynamic>, route: Partial<typeof learned>) =>
      hostOwn(
        uplink,
        taps,
        [address('10.0.0.2/24', { link: tap, ...on_tap })],
        [linuxRoute('::/0', ['fe80::1 dev 9'], { protocol: 9, ...route })],
      );
    t.same(read({}, {}), { addresses: [dynamic], routes: [learned] });
    t.match(read({ valid_s: 60, preferred_s: 30 }, { expires_s: 5 }), {
      addresses: [{ valid_s: 60, preferred_s: 30, link: 2 }],
      routes: [{ expires_s: 5 }],
    });
  },
);

t.test('two states are told apart by what the host has set, and not by what the kernel adds', async (t) => {
  const state = (prefix: string, route: Partial<LinuxRoute> = {}, flags = 0x80) =>
    fingerprint([
      uplinkOf({
        addresses: [address(prefix, { flags })],
        routes: [linuxRoute('10.8.0.0/16', ['10.0.0.1'], { table: 100, ...route })],
      }),
    ]);
  const usual = state('10.0.0.2/24');
  t.equal(state('10.0.0.2/24', { flags: 16, expires_s: 3 }, 0), usual);
  t.not(state('10.0.0.3/24'), usual);
  t.not(state('10.0.0.2/24', { metric: 7 }), usual);
  t.not(state('10.0.0.2/24', { next_hops: [{ oif: 2, gateway: '10.0.0.9' }] }), usual);
});

t.test('a next hop through the tap of another uplink is one through that uplink', async (t) => {
  const both = new Map([
    [2, tap],
    [3, 10],
  ]);
  const shared = linuxRoute('0.0.0.0/0', ['10.0.0.1 dev 9', '10.1.0.1 dev 10']);
  t.same(hostOwn(uplinkOf(), both, [address('10.0.0.2/24')], [shared])?.routes, [
    linuxRoute('0.0.0.0/0', ['10.0.0.1', '10.1.0.1 dev 3']),
  ]);
});

t.test('next hops through other links stay there, and what only a dump shows is left out', async (t) => {
  const shared = linuxRoute('10.8.0.0/16', ['10.0.0.1', '10.7.0.1 dev 7'], {
    flags: 16,
    nexthop_id: 5,
    prefsrc: '10.0.0.2',
  });
  const [change] = hostTapChanges(uplinkOf({ addresses: [], routes: [shared] }), taps, [], no_cluster).slice(
    -1,
  );
  t.same(change, {
    do: 'replace_route',
    route: {
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
  });
});

t.test(
  'prefixes of the cluster are reached through the tap of the main uplink, with room for encapsulation',
  async (t) => {
    const cluster = { prefixes: ['10.96.0.1/16', 'fd00:96::/112'], tap_address: '169.254.0.1/32' };
    const dressed = (is_main: boolean) =>
      hostTapChanges(uplinkOf({ addresses: [], routes: [], is_main }), taps, [], cluster).filter(
        (change) => change.do === 'replace_route',
      );
    t.match(dressed(true), [
      {
        route: {
          prefix: '10.96.0.0/16',
          metrics: { mtu: 1440 },
          next_hops: [{ oif: tap, gateway: '169.254.0.1', onlink: true }],
        },
      },
      {
        route: {
          prefix: 'fd00:96::/112',
          metrics: { mtu: 1440 },
          next_hops: [{ oif: tap, gateway: 'fe80::ca:11ff:fec0:fd00', onlink: true }],
        },
      },
    ]);
    t.same(dressed(false), []);
  },
);

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
      .batch(
        hostTapChanges(
          uplink,
          new Map([[2, link]]),
          own.addresses(link).flatMap(({ prefix }) => (prefix.startsWith('fe80:') ? [prefix] : [])),
          { ...no_cluster, prefixes: ['10.96.0.0/16', 'fd00:96::/112'] },
        ),
      )
      .filter((error) => error !== undefined);
  t.same(dress(), []);
  const once = network.snapshot();
  t.same(
    own.addresses(link).map(({ prefix }) => prefix),
    ['10.0.0.2/24', 'fd00::2/64', 'fe80::1:2/64'],
  );
  t.same(dress(), []);
  t.same(network.snapshot(), once);
});
