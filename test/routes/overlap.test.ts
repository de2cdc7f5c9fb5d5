import t from 'tap';
import type { Route } from '../../src/objects/routing.js';
import { Overlap } from '../../src/routes/overlap.js';

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

t.test('what it costs to move all routes does not grow with the square of the nodes', async (t) => {
  const nodes = 20_000;
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000 });
  const begun = process.cpuUsage().user;
  for (let n = 0; n < nodes; n += 1) {
    const now_ms = Math.floor(n / 10);
    overlap.comes(tagOf(n, 'vxlan'), true, now_ms);
    if (!overlap.holds(route(n, 'vxlan'), route(n, 'ipip'))) throw new Error('it has to wait');
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
  const overlap = new Overlap({ lead_ms: 2000, linger_ms: 10_000 });
  overlap.comes(tagOf(1, 'vxlan'), true, 0);
  overlap.comes(tagOf(2, 'vxlan'), true, 1000);
  overlap.goes(tagOf(1, 'vxlan'), 1100);
  overlap.comes(tagOf(1, 'vxlan'), true, 1200);
  t.ok(overlap.holds(route(1, 'vxlan'), route(1, 'ipip')));
  t.ok(overlap.holds(route(2, 'vxlan'), route(2, 'ipip')));
  t.equal(overlap.next_ms, 3000);
  t.match(overlap.due(3000), { routes: [route(2, 'vxlan')], tunnels: [] });
  t.equal(overlap.next_ms, 3200);
  overlap.comes(tagOf(3, 'vxlan'), true, 3200);
  t.match(overlap.due(3200), { routes: [route(1, 'vxlan')] });
  t.equal(overlap.next_ms, undefined);
  overlap.comes(tagOf(4, 'vxlan'), true, 60_000);
  t.notOk(overlap.holds(route(3, 'vxlan'), route(3, 'ipip')), 'what is over is forgotten');
});
