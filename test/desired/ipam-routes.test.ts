import fc from 'fast-check';
import t from 'tap';
import type { BlockAffinity } from '../../src/calico/kinds/block-affinity.js';
import type { IpamBlock } from '../../src/calico/kinds/ipam-block.js';
import type { CalicoNode } from '../../src/calico/kinds/node.js';
import { IpamRoutes } from '../../src/desired/ipam-routes.js';
import { NodeAddresses } from '../../src/desired/node-addresses.js';

function node(name: string, ip4?: string, ip6?: string): CalicoNode {
  return {
    name,
    labels: {},
    ...(ip4 && { ip4: { address: ip4, prefix: `${ip4}/32` } }),
    ...(ip6 && { ip6: { address: ip6, prefix: `${ip6}/128` } }),
  };
}

function affinity(name: string, prefix: string, changes: Partial<BlockAffinity> = {}): BlockAffinity {
  return { node: name, prefix, type: 'host', confirmed: true, deleted: false, ...changes };
}

function block(prefix: string, changes: Partial<IpamBlock> = {}): IpamBlock {
  return { prefix, borrowed: [], deleted: false, ...changes };
}

function lab(): IpamRoutes {
  const routes = new IpamRoutes('own');
  routes.setNode('own', node('own', '10.0.0.1', 'fd00::1'));
  routes.setNode('two', node('two', '10.0.0.2', 'fd00::2'));
  routes.setNode('three', node('three', '10.0.0.3'));
  return routes;
}

const changes = (routes: IpamRoutes) => Object.fromEntries(routes.changes());
const faults = (routes: IpamRoutes) => Object.fromEntries(routes.faults());

t.test('a confirmed block leads to its node, by the address of its family', async (t) => {
  const routes = lab();
  routes.setAffinity('a', affinity('two', '10.244.1.0/26'));
  routes.setAffinity('b', affinity('two', 'fd10::/122'));
  routes.setAffinity('c', affinity('own', '10.244.2.0/26'));
  t.strictSame(changes(routes), {
    '10.244.1.0/26': '10.0.0.2',
    'fd10::/122': 'fd00::2',
    '10.244.2.0/26': undefined,
  });
  t.strictSame(changes(routes), {}, 'told once');
  routes.setAffinity('a', undefined);
  t.strictSame(changes(routes), { '10.244.1.0/26': undefined });
});

t.test('a block that is pending, deleted or virtual is nobody’s', async (t) => {
  for (const how of [{ confirmed: false }, { deleted: true }, { type: 'virtual' }] as const) {
    const routes = lab();
    routes.setAffinity('a', affinity('two', '10.244.1.0/26', how));
    routes.setBlock('b', block('10.244.1.0/26', { node: 'two' }));
    t.strictSame(changes(routes), { '10.244.1.0/26': undefined }, JSON.stringify(how));
    t.strictSame(faults(routes), {});
  }
});

t.test('a block that no affinity is about is that node’s which it names', async (t) => {
  const routes = lab();
  routes.setBlock('b', block('10.244.1.0/26', { node: 'two' }));
  t.strictSame(changes(routes), { '10.244.1.0/26': '10.0.0.2' });
  routes.setBlock('b', block('10.244.1.0/26', { node: 'two', deleted: true }));
  t.strictSame(changes(routes), { '10.244.1.0/26': undefined });
});

t.test(
  'of two nodes that have a block the one that the block names holds; the other one is reported',
  async (t) => {
    const routes = lab();
    routes.setAffinity('a', affinity('two', '10.244.1.0/26'));
    routes.setAffinity('b', affinity('three', '10.244.1.0/26'));
    t.strictSame(changes(routes), { '10.244.1.0/26': '10.0.0.2' });
    t.match(faults(routes), {
      'BlockAffinity b': /to Node three, and BlockAffinity a to Node two, which holds/,
    });
    routes.setBlock('x', block('10.244.1.0/26', { node: 'three' }));
    t.strictSame(changes(routes), { '10.244.1.0/26': '10.0.0.3' });
    t.match(faults(routes), { 'BlockAffinity a': /BlockAffinity b to Node three, which holds/ });
    routes.setAffinity('a', undefined);
    routes.changes();
    t.strictSame(faults(routes), {});
    t.equal(routes.faulty_count, 0);
  },
);

t.test('a borrowed address leads to whoever uses it, and not away from here', async (t) => {
  const routes = lab();
  routes.setAffinity('a', affinity('two', '10.244.1.0/26'));
  const borrowed = (...users: readonly [number, string][]) =>
    block('10.244.1.0/26', {
      node: 'two',
      borrowed: users.map(([n, user]) => ({ address: `10.244.1.${n}`, node: user })),
    });
  routes.setBlock('b', borrowed([5, 'three'], [6, 'own'], [7, 'three']));
  t.strictSame(changes(routes), {
    '10.244.1.0/26': '10.0.0.2',
    '10.244.1.5/32': '10.0.0.3',
    '10.244.1.6/32': undefined,
    '10.244.1.7/32': '10.0.0.3',
  });
  routes.setBlock('b', borrowed([5, 'own']));
  t.match(changes(routes), {
    '10.244.1.5/32': undefined,
    '10.244.1.6/32': undefined,
    '10.244.1.7/32': undefined,
  });
  routes.setBlock('b', undefined);
  routes.changes();
  routes.setNode('three', node('three', '10.0.0.33'));
  t.strictSame(changes(routes), {}, 'nothing of the block is left');
});

t.test('a node that changes its address, goes or comes, moves its prefixes and no other', async (t) => {
  const routes = lab();
  routes.setAffinity('a', affinity('two', '10.244.1.0/26'));
  routes.setAffinity('b', affinity('three', '10.244.2.0/26'));
  routes.changes();
  routes.setNode('two', { ...node('two', '10.0.0.2', 'fd00::2'), labels: { zone: 'a' } });
  t.strictSame(changes(routes), {}, 'labels lead nowhere');
  routes.setNode('two', node('two', '10.0.0.22'));
  t.strictSame(changes(routes), { '10.244.1.0/26': '10.0.0.22' });
  routes.setNode('two', undefined);
  t.strictSame(changes(routes), { '10.244.1.0/26': undefined });
  t.match(faults(routes), { 'BlockAffinity a': /Node two, which is not there/ });
  routes.setNode('two', node('two', '10.0.0.2'));
  t.strictSame(changes(routes), { '10.244.1.0/26': '10.0.0.2' });
  t.strictSame(faults(routes), {});
});

t.test('a node without an address of a family is reached by the other one, or reported', async (t) => {
  const routes = lab();
  routes.setAffinity('a', affinity('three', 'fd10::/122'));
  t.strictSame(changes(routes), { 'fd10::/122': '10.0.0.3' });
  routes.setNode('three', node('three'));
  t.strictSame(changes(routes), { 'fd10::/122': undefined });
  t.match(faults(routes), { 'BlockAffinity a': /Node three, which has no address/ });
  routes.setNode('three', { ...node('three'), status_ip6: 'fd00::3' });
  t.strictSame(changes(routes), { 'fd10::/122': 'fd00::3' });
});

const names = ['own', 'two', 'three'] as const;
const steps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('node' as const),
      name: fc.constantFrom(...names),
      address: fc.option(fc.constantFrom('10.0.0.2', '10.0.0.9'), { nil: undefined }),
    }),
    fc.record({
      do: fc.constant('affinity' as const),
      name: fc.constantFrom('a', 'b', 'c'),
      node: fc.option(fc.constantFrom(...names), { nil: undefined }),
      prefix: fc.constantFrom('10.244.1.0/26', '10.244.1.5/32'),
      confirmed: fc.boolean(),
    }),
    fc.record({
      do: fc.constant('block' as const),
      name: fc.constantFrom('x', 'y'),
      node: fc.option(fc.constantFrom(...names), { nil: undefined }),
      prefix: fc.constantFrom('10.244.1.0/26', '10.244.1.5/32'),
      user: fc.option(fc.constantFrom(...names), { nil: undefined }),
      there: fc.boolean(),
    }),
    fc.record({ do: fc.constant('changes' as const) }),
  ),
  { maxLength: 30, size: 'max' },
);

t.test('whatever is told in whatever order, the routes are those of a fresh start', async () => {
  fc.assert(
    fc.property(steps, (todo) => {
      const routes = new IpamRoutes('own');
      const nodes = new Map<string, CalicoNode>();
      const affinities = new Map<string, BlockAffinity>();
      const blocks = new Map<string, IpamBlock>();
      const known = new Map<string, string>();
      const take = (from: IpamRoutes, into: Map<string, string>): void => {
        for (const [prefix, next_hop] of from.changes()) {
          if (next_hop === undefined) into.delete(prefix);
          else into.set(prefix, next_hop);
        }
      };
      const set = <T>(map: Map<string, T>, name: string, value: T | undefined): T | undefined => {
        if (value === undefined) map.delete(name);
        else map.set(name, value);
        return value;
      };
      for (const step of todo) {
        if (step.do === 'changes') take(routes, known);
        else if (step.do === 'node')
          routes.setNode(step.name, set(nodes, step.name, step.address && node(step.name, step.address)));
        else if (step.do === 'affinity') {
          const { name, prefix, confirmed } = step;
          const made = step.node && affinity(step.node, prefix, { confirmed });
          routes.setAffinity(name, set(affinities, name, made));
        } else {
          const { name, prefix, user, there } = step;
          const borrowed = user === undefined ? [] : [{ address: '10.244.1.5', node: user }];
          const made = there ? block(prefix, { borrowed, ...(step.node && { node: step.node }) }) : undefined;
          routes.setBlock(name, set(blocks, name, made));
        }
      }
      take(routes, known);
      const fresh = new IpamRoutes('own');
      for (const [name, each] of blocks) fresh.setBlock(name, each);
      for (const [name, each] of affinities) fresh.setAffinity(name, each);
      for (const [name, each] of nodes) fresh.setNode(name, each);
      const should = new Map<string, string>();
      take(fresh, should);
      const text = (map: Map<string, string>) => JSON.stringify([...map].sort());
      if (text(known) !== text(should)) throw new Error(`${text(known)}\nof a fresh start ${text(should)}`);
      const wrong = (from: IpamRoutes) => JSON.stringify([...from.faults()].sort());
      if (wrong(routes) !== wrong(fresh))
        throw new Error(`${wrong(routes)}\nof a fresh start ${wrong(fresh)}`);
    }),
    { numRuns: 500 },
  );
});

t.test('nodes that share an address know of each other as long as they do', async (t) => {
  const nodes = new NodeAddresses();
  nodes.set('b', node('b', '10.0.0.7'));
  nodes.set('a', node('a', '10.0.0.7', 'fd00::7'));
  nodes.set('c', node('c', '10.0.0.8'));
  t.match(Object.fromEntries(nodes.faults()), {
    'Node a': /10\.0\.0\.7 of Node b, too/,
    'Node b': /10\.0\.0\.7 of Node a, too/,
  });
  t.equal(nodes.shared_count, 1);
  t.equal(nodes.nameOf('10.0.0.7'), 'a');
  nodes.set('a', node('a', '10.0.0.9'));
  t.strictSame([...nodes.faults()], []);
  t.equal(nodes.nameOf('10.0.0.7'), 'b');
  nodes.set('b', undefined);
  t.equal(nodes.nameOf('10.0.0.7'), undefined);
});
