import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import {
  type SectionName,
  type SharedMemory,
  section_bytes,
  section_names,
} from '../../src/debug/protocol.js';
import { type Observed, Publisher } from '../../src/debug/publisher.js';
import { sharedTextMemory, TextReader } from '../../src/debug/shared-text.js';
import { countNodes, type ShownNode } from '../../src/debug/tree-filter.js';
import type { Counters, Event } from '../../src/supervision/types.js';
import { NOW_MS, sampleNode, sampleTree } from './sample.js';

function setUp(more: { [K in keyof Observed]?: Observed[K] | Partial<Observed[K]> } = {}) {
  const memory: SharedMemory = {
    heartbeat: new SharedArrayBuffer(8),
    sections: Object.fromEntries(
      section_names.map((name) => [name, sharedTextMemory(section_bytes[name])]),
    ) as SharedMemory['sections'],
  };
  const system = {
    tree: () => sampleTree,
    treeMoved: () => sampleTree,
    node: () => undefined,
    events: () => [],
    counters: () => ({}) as Counters,
    ...more.system,
  };
  const clock = new TurnedClock();
  const publisher = new Publisher(
    memory,
    { conditions: () => [], sync: () => ({}), failed: () => undefined, ...more, system } as Observed,
    new Set(['"secret"']),
    clock,
  );
  const read = (name: SectionName) => JSON.parse(new TextReader(memory.sections[name]).read().text);
  return { publisher, read, clock };
}

t.test('a tree that has no room loses its lowest levels, and says how many actors', async (t) => {
  const wide = (path: string, count: number, children: (path: string) => ShownNode[]) =>
    Array.from({ length: count }, (_, i) =>
      sampleNode(`${path}/${i}`, { children: children(`${path}/${i}`) }),
    );
  const tree = sampleNode('node', { children: wide('node', 10, (path) => wide(path, 1000, () => [])) });
  const { publisher, read } = setUp({ system: { tree: () => tree } });
  publisher.publish(['tree']);
  const { taken_at, value } = read('tree');
  t.equal(taken_at, NOW_MS);
  t.equal(value.tree.children.length, 10);
  t.strictSame(value.tree.children[3].children, []);
  t.equal(value.tree.children[3].hidden, 1000);
  t.equal(countNodes(value.tree), 10_011);
});

t.test('a report of a source of input that has no room costs no other its own', async (t) => {
  const reports = {
    vpp: { ok: true },
    cluster: { faults: Array(10_000).fill('x'.repeat(30)) },
    bgp: ['peer'],
  };
  const { publisher, read } = setUp({ sync: () => reports });
  publisher.publish(['sync']);
  t.strictSame(read('sync').value, { ...reports, cluster: { error: 'too large to be shown' } });
});

t.test('events that have no room go oldest first, and are counted', async (t) => {
  const events = Array.from({ length: 1000 }, (_, i) => ({
    at: i,
    path: 'node',
    incarnation: 1,
    kind: 'note',
    text: 'x'.repeat(2000),
  }));
  const { publisher, read } = setUp({ system: { events: () => events } });
  publisher.publish(['events']);
  const { value } = read('events');
  t.equal(value.events.length, 250);
  t.equal(value.omitted, 750);
  t.equal(value.events.at(-1).at, 999);
});

t.test(
  'what throws, or is too large at its smallest, is said in its place and costs nothing else',
  async (t) => {
    const { publisher, read } = setUp({
      sync: () => {
        throw new Error('no source');
      },
      conditions: () => [{ name: 'x', ok: true, since_ms: 0, reason: 'y'.repeat(100_000) }],
    });
    publisher.publish();
    t.match(read('sync'), { taken_at: NOW_MS, error: 'no source' });
    t.match(read('health'), { error: 'too large to be shown' });
    t.match(read('tree'), { value: { tree: { path: 'node' } } });
    t.match(read('runtime'), { value: { pid: process.pid, node: process.versions.node } });
  },
);

t.test('what has not moved is not encoded again', async (t) => {
  let encoded = 0;
  const leaf = (name: string, value: string) =>
    sampleNode(`node/${name}`, {
      gauges: {
        get of() {
          encoded += 1;
          return value;
        },
      } as unknown as ShownNode['gauges'],
    });
  const idle = leaf('idle', '"secret"');
  let busy = leaf('busy', 'a');
  const tree = () => sampleNode('node', { children: [idle, busy] });
  const events: Event[] = [{ at: 1, path: 'node', incarnation: 1, kind: 'note', text: 'x' }];
  const { publisher, read, clock } = setUp({ system: { tree, treeMoved: tree, events: () => [...events] } });
  publisher.publish();
  const each = encoded / 2;
  const first = read('tree').value.tree.children;
  t.match(first, [
    { path: 'node/idle', gauges: { of: '[redacted]' }, children: [] },
    { gauges: { of: 'a' } },
  ]);
  await clock.advance(1000);
  busy = leaf('busy', 'b');
  publisher.publishMoved();
  t.equal(encoded, 3 * each);
  t.match(read('tree'), {
    taken_at: NOW_MS + 1000,
    value: { tree: { children: [first[0], { gauges: { of: 'b' } }] } },
  });
  t.same([read('events').taken_at, read('errors').taken_at], [NOW_MS, NOW_MS]);
  t.equal(read('health').taken_at, NOW_MS + 1000);

  events.push({ at: 2, path: 'node', incarnation: 1, kind: 'note', text: 'y' });
  busy = sampleNode('node/busy', { errors: 1 });
  publisher.publishMoved();
  t.equal(read('events').value.events.length, 2);
  t.same(read('errors'), { taken_at: NOW_MS + 1000, value: { 'node/busy': [] } });
  await clock.advance(1000);
  publisher.publish();
  t.same([read('events').taken_at, read('errors').taken_at], [NOW_MS + 2000, NOW_MS + 2000]);
});

t.test('started stays once all conditions have held', async (t) => {
  let ok = false;
  const { publisher, read } = setUp({ conditions: () => [{ name: 'vpp', ok, since_ms: 0, reason: '' }] });
  const started = () => {
    publisher.publish(['health']);
    return read('health').value.started;
  };
  t.equal(started(), false);
  ok = true;
  t.equal(started(), true);
  ok = false;
  t.equal(started(), true);
});
