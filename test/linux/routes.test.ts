import fc from 'fast-check';
import t from 'tap';
import type { NetworkChange, Route } from '../../src/linux/network.js';
import {
  addingOrder,
  inOrderOfNeed,
  isSameRoute,
  type PlacedRoute,
  placed,
  placing,
  RouteIndex,
  surplusConnected,
} from '../../src/linux/routes.js';
import { address, linuxRoute } from '../desired/sample.js';

/** `append_route 10.0.0.1 dev 2`: what is done, with where it leads. */
function inWords(changes: readonly NetworkChange[]): string[] {
  return changes.map((change) => {
    const hops = 'route' in change ? (change.route.next_hops ?? []) : [];
    return `${change.do} ${hops.map(({ gateway, oif }) => `${gateway ?? 'direct'} dev ${oif}`).join(' + ')}`;
  });
}

const mine = linuxRoute('0.0.0.0/0', ['10.0.0.1 dev 2'], { metric: 100 });
const other = linuxRoute('0.0.0.0/0', ['10.1.0.1 dev 3'], { metric: 100 });

t.test('an IPv4 route is put where it stood, and no other is touched', async (t) => {
  const first: PlacedRoute = { ...mine, first: true };
  t.same(inWords(placing(mine, [])), ['append_route 10.0.0.1 dev 2']);
  t.same(inWords(placing(mine, [other])), ['append_route 10.0.0.1 dev 2']);
  t.same(inWords(placing(first, [])), ['append_route 10.0.0.1 dev 2']);
  t.same(inWords(placing(first, [other])), ['prepend_route 10.0.0.1 dev 2']);
  t.same(placing(mine, [other, mine]), []);
  t.same(placing(first, [mine, other]), []);
  t.same(inWords(placing(first, [other, mine])), [
    'delete_route 10.0.0.1 dev 2',
    'prepend_route 10.0.0.1 dev 2',
  ]);
  t.same(inWords(placing({ ...mine, metrics: { mtu: 1400 } }, [mine])), ['append_route 10.0.0.1 dev 2']);
});

t.test('of IPv6 a next hop joins those that are there, and what has lost a part gets it back', async (t) => {
  const one = linuxRoute('::/0', ['fe80::1 dev 2']);
  const two = linuxRoute('::/0', ['fe80::2 dev 2']);
  const joined = linuxRoute('::/0', ['fe80::1 dev 2', 'fe80::2 dev 2']);
  t.same(
    inWords(placing(two, [one])),
    ['append_route fe80::2 dev 2'],
    'two routers that advertise themselves',
  );
  t.same([placing(one, [joined]), placing(two, [joined]), placing(joined, [joined])], [[], [], []]);
  t.same(inWords(placing(joined, [two])), ['replace_route fe80::1 dev 2 + fe80::2 dev 2']);
  const foreign = linuxRoute('fd08::/48', ['fd07::9 dev 3']);
  const from = { ...foreign, prefsrc: 'fd00::2' };
  t.same(
    inWords(placing(from, [foreign])),
    ['replace_route fd07::9 dev 3'],
    'its source went with an address',
  );
  t.same(placing(from, [from]), []);
  t.same(placing(foreign, [from]), [], 'one that was given a source keeps it');
  const direct = (oif: number) => linuxRoute('fd09::/48', [`dev ${oif}`]);
  t.same(inWords(placing(direct(2), [direct(3)])), ['append_route direct dev 2']);
});

t.test('whatever is there, nothing of another link is removed or replaced', async () => {
  const gateway = fc.constantFrom('10.0.0.1', '10.0.0.2');
  const of = (...links: number[]) =>
    fc.array(fc.tuple(gateway, fc.constantFrom(...links)), { minLength: 1, maxLength: 2 }).map((hops) =>
      linuxRoute(
        '10.9.0.0/16',
        hops.map(([via, oif]) => `${via} dev ${oif}`),
      ),
    );
  fc.assert(
    fc.property(of(2), fc.boolean(), fc.array(of(2, 3), { maxLength: 4 }), (route, first, rivals) =>
      placing({ ...route, first }, rivals).every(
        (change) => !('route' in change) || change.route.next_hops?.every(({ oif }) => oif === 2),
      ),
    ),
  );
  const of6 = of(3).map((route): Route => ({ ...route, family: 6, prefix: 'fd09::/48', metric: 1024 }));
  const own6 = of(2).map((route): Route => ({ ...route, family: 6, prefix: 'fd09::/48', metric: 1024 }));
  fc.assert(
    fc.property(own6, fc.array(of6, { maxLength: 3 }), (route, rivals) =>
      placing(route, rivals).every(({ do: what }) => what === 'append_route'),
    ),
  );
});

t.test('a route is captured with its place before those of other links', async (t) => {
  const isOwn = ({ next_hops }: Route): boolean => next_hops[0]?.oif === 2;
  const firsts = (all: readonly Route[]) =>
    placed(all.filter(isOwn), isOwn, new RouteIndex(all)).map(({ first = false }) => first);
  t.same(firsts([mine, other]), [true]);
  t.same(firsts([other, mine]), [false]);
  t.same(firsts([mine]), [false], 'alone it needs none');
  t.same(firsts([mine, { ...other, metric: 7 }]), [false], 'another metric is another place');
});

t.test(
  'routes are added so that their gateways are reachable, and those in front the last of them first',
  async (t) => {
    const via = (prefix: string, first = false) => ({ ...linuxRoute(prefix, ['10.0.0.1']), first });
    const list = [via('0.0.0.0/0'), via('10.9.0.0/16'), linuxRoute('10.0.0.0/24', ['dev 2'])];
    t.same(
      inOrderOfNeed(list).map(({ prefix }) => prefix),
      ['10.0.0.0/24', '10.9.0.0/16', '0.0.0.0/0'],
    );
    const [a, b, c] = [via('10.9.0.0/16', true), via('10.9.0.0/16', true), via('10.9.0.0/16')] as const;
    t.ok(inOrderOfNeed([a, b, c]).every((route, at) => route === [b, a, c][at]));
  },
);

t.test('addresses are added in the order that makes the kernel list them as before', async (t) => {
  const list = ['10.0.0.2/24', '10.0.0.3/24', 'fd00::3/64', 'fd00::2/64'].map((prefix) => address(prefix));
  t.same(
    addingOrder(list).map(({ prefix }) => prefix),
    ['10.0.0.2/24', '10.0.0.3/24', 'fd00::2/64', 'fd00::3/64'],
  );
});

const connected = (prefix: string, more: Partial<Route> = {}) =>
  linuxRoute(prefix, ['dev 2'], { protocol: 2, ...more });

t.test('the route of an address that somebody else has brought is no surplus', async (t) => {
  const own = [
    { prefix: '10.0.0.2/24' },
    { prefix: 'fd00::2/64' },
    { prefix: '10.5.0.1/24', peer: '10.6.0.1' },
  ];
  const mine = [
    connected('10.0.0.0/24', { prefsrc: '10.0.0.2' }),
    connected('fd00::/64'),
    connected('10.6.0.0/24', { prefsrc: '10.5.0.1' }),
  ];
  const theirs = [connected('10.0.0.0/24', { prefsrc: '10.0.0.77' }), connected('fd01::/64')];
  const surplus = (there: { readonly prefix: string }[]) =>
    surplusConnected([...mine, ...theirs], [], own, [...own, ...there]);
  t.same(surplus([{ prefix: '10.0.0.77/24' }, { prefix: 'fd01::7/64' }]), mine);
  t.same(surplus([{ prefix: 'fd00::7/64' }]), [mine[0], mine[2]], 'one route for two addresses');
});

t.test('connected routes that were not there are told, whatever else there is', async (t) => {
  const own = [{ prefix: '10.0.0.2/24' }];
  const present = [
    connected('10.0.0.0/24'),
    connected('10.0.0.0/24', { metrics: { mtu: 1400 } }),
    connected('fe80::/64'),
    connected('ff00::/8', { table: 255 }),
    linuxRoute('10.8.0.0/16', ['dev 2']),
  ];
  t.same(surplusConnected(present, [present[1]!], own, own), [present[0]]);
  t.ok(
    isSameRoute(
      { ...present[0]!, scope: 253 },
      { family: 4, prefix: '10.0.0.0/24', type: 'unicast', protocol: 2, next_hops: [{ oif: 2 }] },
    ),
  );
});
