import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { pods_table } from '../../src/desired/tables.js';
import type { Route } from '../../src/objects/routing.js';
import { wireguard_tag } from '../../src/objects/wireguard.js';
import { Overlap, peerCarrier } from '../../src/routes/overlap.js';

function route(n: number, by: string): Route {
  const next_hop = `10.9.${n >> 8}.${n & 255}`;
  return {
    kind: 'route',
    source: 'connectivity',
    table_id: 0,
    prefix: `10.${64 + (n >> 8)}.${n & 255}.0/26`,
    paths: [{ via: 'interface', interface: `${by}-${next_hop}`, next_hop }],
  };
}

const tagOf = (n: number, by: string): string => {
  const [path] = route(n, by).paths;
  return path?.via === 'interface' ? path.interface : '';
};

/** Whether a route goes on to lead by IPIP when it is told to lead by VXLAN. */
function waits(overlap: Overlap, n: number): boolean {
  const now = overlap.meanwhile(route(n, 'vxlan'), route(n, 'ipip'));
  return now?.kind === 'route' && isDeepStrictEqual(now.paths, route(n, 'ipip').paths);
}

t.test('what it costs to move all routes does not grow with the square of the nodes', async (t) => {
  const nodes = 20_000;
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000, answer_ms: 30_000 });
  const begun = process.cpuUsage().user;
  for (let n = 0; n < nodes; n += 1) {
    const now_ms = Math.floor(n / 10);
    overlap.comes(tagOf(n, 'vxlan'), true, now_ms);
    if (!waits(overlap, n)) throw new Error('it has to wait');
    overlap.next_ms;
    overlap.goes(tagOf(n, 'ipip'), now_ms);
    overlap.next_ms;
  }
  const moved: string[] = [];
  let gone = 0;
  for (let next_ms = overlap.next_ms; next_ms !== undefined; next_ms = overlap.next_ms) {
    const { routes, tunnels } = overlap.due(next_ms);
    if (routes.length + tunnels.length === 0) throw new Error(`nothing is due at ${next_ms}`);
    moved.push(...routes.map(({ prefix }) => prefix));
    gone += tunnels.length;
  }
  // Some 50 ms; with a look at all at each step, half a minute.
  t.ok(process.cpuUsage().user - begun < 3_000_000);
  t.equal(new Set(moved).size, nodes);
  t.equal(gone, nodes);
  t.equal(overlap.moves, 0);
});

t.test('a tunnel is fresh for its time, counted from when it was made last', async (t) => {
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000, answer_ms: 30_000 });
  overlap.comes(tagOf(1, 'vxlan'), true, 0);
  overlap.comes(tagOf(2, 'vxlan'), true, 1000);
  overlap.goes(tagOf(1, 'vxlan'), 1100);
  overlap.comes(tagOf(1, 'vxlan'), true, 1200);
  t.ok(waits(overlap, 1));
  t.ok(waits(overlap, 2));
  t.equal(overlap.next_ms, 3000);
  t.match(overlap.due(3000), { routes: [route(2, 'vxlan')], tunnels: [] });
  t.equal(overlap.next_ms, 3200);
  overlap.comes(tagOf(3, 'vxlan'), true, 3200);
  t.match(overlap.due(3200), { routes: [route(1, 'vxlan')] });
  t.equal(overlap.next_ms, undefined);
  overlap.comes(tagOf(4, 'vxlan'), true, 60_000);
  t.notOk(waits(overlap, 3), 'what is over is forgotten');
});

t.test(
  'of a route by several nodes each moves on its own, and who comes or goes does so at once',
  async (t) => {
    const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000, answer_ms: 30_000 });
    const by = (...ways: readonly (readonly [number, string])[]): Route => ({
      ...route(0, ''),
      paths: ways.flatMap(([n, kind]) => route(n, kind).paths),
    });
    overlap.comes(tagOf(1, 'vxlan'), true, 0);
    overlap.comes(tagOf(2, 'vxlan'), true, 500);
    const both = by([1, 'ipip'], [2, 'ipip']);
    t.match(overlap.meanwhile(by([1, 'vxlan'], [2, 'vxlan']), both), both);
    t.ok(overlap.goes(tagOf(2, 'ipip'), 500));
    t.match(overlap.due(2000), { routes: [] }, 'the second tunnel is too new');
    // The first node withdraws: nothing is sent there for the rest of the time.
    const second = overlap.meanwhile(by([2, 'vxlan'], [3, 'vxlan']), both);
    t.match(second, by([2, 'ipip'], [3, 'vxlan']));
    t.match(overlap.due(2500), { routes: [by([2, 'vxlan'], [3, 'vxlan'])], tunnels: [] });
    t.equal(overlap.moves, 0);
    t.match(overlap.due(10_500), { tunnels: [tagOf(2, 'ipip')] });
  },
);

t.test('what pods send to a node itself waits where a route to several nodes does', async (t) => {
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000, answer_ms: 30_000 });
  const by = (kind: string): Route => ({
    ...route(0, ''),
    paths: [1, 2].flatMap((n) => route(n, kind).paths),
  });
  const toNode = (n: number): Route => ({
    ...route(n, 'vxlan'),
    table_id: pods_table,
    prefix: `10.9.0.${n}/32`,
  });
  overlap.comes(tagOf(1, 'vxlan'), true, 0);
  overlap.comes(tagOf(2, 'vxlan'), true, 500);
  t.match(overlap.meanwhile(by('vxlan'), by('ipip')), by('ipip'));
  for (const n of [1, 2]) t.equal(overlap.meanwhile(toNode(n), undefined), undefined, `node ${n}`);
  t.equal(overlap.moves, 3);
  t.strictSame(overlap.due(2000).routes, [toNode(1)], 'the first node has its tunnel');
  t.same(
    overlap.due(2500).routes.map(({ prefix }) => prefix),
    [by('vxlan').prefix, toNode(2).prefix],
  );
  t.equal(overlap.moves, 0);
  t.equal(overlap.meanwhile(toNode(3), undefined)?.kind, 'route', 'where nothing moves it is there at once');
});

t.test('a tunnel by which a route still leads to one of its nodes is not taken away', async (t) => {
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 0, answer_ms: 0 });
  overlap.comes(tagOf(1, 'vxlan'), true, 0);
  const both: Route = { ...route(1, 'ipip'), paths: [...route(1, 'ipip').paths, ...route(2, 'ipip').paths] };
  overlap.meanwhile({ ...both, paths: [...route(1, 'vxlan').paths, ...route(2, 'ipip').paths] }, both);
  t.ok(overlap.goes(tagOf(1, 'ipip'), 0), 'it lingers');
  t.match(overlap.due(2000), { routes: [{ prefix: both.prefix }], tunnels: [tagOf(1, 'ipip')] });
  t.notOk(overlap.goes(tagOf(2, 'ipip'), 2000), 'nothing waits any more');
});

t.test('an answer is waited for by what waits to move, and for its time', async (t) => {
  const by = (n: number): Route => {
    const { next_hop = '' } = route(n, 'ipip').paths[0] as { next_hop?: string };
    return { ...route(n, 'ipip'), paths: [{ via: 'interface', interface: wireguard_tag, next_hop }] };
  };
  const carrier = (n: number): string => peerCarrier(`10.9.0.${n}`);
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000, answer_ms: 30_000 });
  for (const n of [1, 2, 3]) overlap.comes(carrier(n), true, 0, true);
  t.notOk(overlap.waits_for_answers, 'nothing moves');
  t.equal(overlap.next_ms, 30_000);
  t.match(overlap.meanwhile(by(1), route(1, 'ipip')), route(1, 'ipip'));
  t.ok(overlap.waits_for_answers);
  t.ok(overlap.answered(carrier(1)));
  t.notOk(overlap.waits_for_answers);
  t.match(overlap.due(100), { routes: [by(1)] });
  // The peer has another end by now.
  overlap.silenced(carrier(3));
  const third = by(3);
  t.equal(overlap.meanwhile(third, route(3, 'ipip')), third);
  overlap.due(30_000);
  t.equal(overlap.next_ms, undefined);
  const late = by(2);
  t.equal(overlap.meanwhile(late, route(2, 'ipip')), late, 'it has had its time');
});
