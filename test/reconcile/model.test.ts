import fc from 'fast-check';
import t from 'tap';
import { desiredPod } from '../../src/desired/pod.js';
import { canonical, keyOf, type ObjectOf, type VppObject } from '../../src/objects/object.js';
import type { Path, Route } from '../../src/objects/routing.js';
import { ipipTag, vxlanTag } from '../../src/objects/tunnels.js';
import { Model } from '../../src/reconcile/model.js';
import type { Operation, Outcome } from '../../src/reconcile/operation.js';
import { arbitraryPod, inputs, podSpec } from './pods.js';
import { StrictVpp } from './strict-vpp.js';

const text = ({ action, object }: Operation): string => `${action} ${keyOf(object)}`;
const done = (operations: readonly Operation[]): Outcome[] => operations.map((operation) => ({ operation }));

const route = (n: number, next_hop = '192.0.2.1'): Route => ({
  kind: 'route',
  source: 'connectivity',
  table_id: 0,
  prefix: `10.${n >> 8}.${n & 255}.0/24`,
  paths: [{ via: 'interface', interface: 'main-eth0', next_hop }],
});

function settled(model: Model): string[] {
  const all: Operation[] = [];
  for (;;) {
    const operations = model.take(100);
    if (operations.length === 0) return all.map(text);
    all.push(...operations);
    model.settle(done(operations));
  }
}

/** What an owner does with a model, in any order. */
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('want' as const), pods: fc.tuple(arbitraryPod(1), arbitraryPod(2)) }),
    fc.record({ do: fc.constant('drop' as const), pod: fc.constantFrom(1, 2) }),
    fc.record({
      do: fc.constant('send' as const),
      max: fc.integer({ min: 1, max: 30 }),
      ahead: fc.integer({ min: 0, max: 30 }),
    }),
    fc.record({ do: fc.constant('read' as const) }),
  ),
  { maxLength: 12 },
);

t.test(
  'whatever is wanted in between, a piece at a time, VPP survives it and ends with what is wanted',
  async () => {
    fc.assert(
      fc.property(steps, (todo) => {
        const model = new Model();
        const vpp = new StrictVpp();
        const wanted = new Map<number, readonly VppObject[]>();
        const send = (max: number, ahead = 0): number => {
          const operations = model.take(max);
          const next = ahead === 0 ? [] : model.take(ahead);
          vpp.run(operations);
          model.settle(done(operations));
          vpp.run(next);
          model.settle(done(next));
          return operations.length + next.length;
        };
        for (const step of todo) {
          if (step.do === 'send') send(step.max, step.ahead);
          else if (step.do === 'read') {
            model.beginReading();
            for (const object of vpp.objects) model.seen(object);
            model.endReading();
          } else {
            if (step.do === 'drop') wanted.delete(step.pod);
            else for (const [at, pod] of step.pods.entries()) wanted.set(at + 1, pod.objects);
            model.wantOnly([...wanted.values()].flat());
          }
        }
        let rounds = 0;
        while (send(7) > 0) if (++rounds > 500) throw new Error('never settles');
        const keys = new Set(vpp.objects.map(keyOf));
        for (const object of [...wanted.values()].flat())
          if (!keys.has(keyOf(object))) throw new Error(`lacks ${keyOf(object)}`);
        if (model.take(1).length > 0) throw new Error('does more');
      }),
      { numRuns: 100 },
    );
  },
);

t.test('a change costs what it touches', async (t) => {
  const model = new Model();
  for (let n = 0; n < 5000; n += 1) model.want(route(n));
  t.equal(settled(model).length, 5000);
  t.strictSame(settled(model), []);
  model.want(route(7, '192.0.2.9'));
  t.strictSame(settled(model), ['add route:connectivity/0/10.0.7.0/24'], 'overwritten, and nothing else');
  model.unwant(keyOf(route(8)));
  t.strictSame(settled(model), ['remove route:connectivity/0/10.0.8.0/24']);
  model.want(route(9));
  t.strictSame(settled(model), [], 'the same again is no change');
});

t.test('of what changes while it is on its way, the last version alone is sent', async (t) => {
  const model = new Model();
  model.want(route(1));
  const first = model.take(10);
  model.want(route(1, '192.0.2.2'));
  model.want(route(1, '192.0.2.3'));
  t.strictSame(model.take(10), [], 'its first version is not answered');
  model.settle(done(first));
  const [second] = model.take(10);
  t.match(second, { action: 'add', object: { paths: [{ next_hop: '192.0.2.3' }] } });
  model.unwant(keyOf(route(1)));
  model.settle(done([second!]));
  t.strictSame(settled(model), ['remove route:connectivity/0/10.0.1.0/24']);
});

t.test('what VPP refuses waits for a change or a retry; what was lost is sent again', async (t) => {
  const model = new Model();
  model.want(route(1));
  model.want(route(2));
  const refused = new Error('refused');
  const lost = new Error('lost');
  const [a, b] = model.take(10);
  model.settle(
    [
      { operation: a!, error: refused },
      { operation: b!, error: lost },
    ],
    (error) => error === lost,
  );
  t.strictSame([...model.failed], [[keyOf(route(1)), refused]]);
  t.strictSame(settled(model), ['add route:connectivity/0/10.0.2.0/24']);
  model.want(route(1));
  t.strictSame(settled(model), [], 'the same again is not tried again');
  model.retry();
  t.strictSame(settled(model), ['add route:connectivity/0/10.0.1.0/24']);
});

t.test('that VPP has refused a version says nothing of the one that is wanted since', async (t) => {
  const model = new Model();
  model.want(route(1));
  const first = model.take(10);
  model.want(route(1, '192.0.2.2'));
  model.settle(first.map((operation) => ({ operation, error: new Error('no') })));
  const second = model.take(10);
  t.strictSame(
    second.map(({ object }) => object),
    [route(1, '192.0.2.2')],
  );
  model.settle(second.map((operation) => ({ operation, error: new Error('no') })));
  t.strictSame(model.take(10), [], 'once');
  t.equal(model.failed.size, 1);
});

t.test(
  'an interface that VPP would not let go is not asked for its belongings again and again',
  async (t) => {
    const tap = (rx_ring_size: number): VppObject => ({
      kind: 'tap',
      tag: 'main-eth0',
      host_namespace: 'pid:1',
      host_if_name: 'eth0',
      host_mtu: 1500,
      rx_queues: 1,
      tx_queues: 1,
      rx_ring_size,
      tx_ring_size: 1024,
      type: 'tun',
      gso: false,
      persistent: true,
    });
    const up: VppObject = { kind: 'interface_flag', interface: 'main-eth0', flag: 'admin_up' };
    const model = new Model();
    for (const object of [tap(1024), up, route(1)]) {
      model.want(object);
      model.seen(object);
    }
    t.same(model.take(100), []);
    model.want(tap(2048));
    let rounds = 0;
    for (let taken = model.take(100); taken.length > 0 && rounds < 10; taken = model.take(100)) {
      rounds += 1;
      model.settle(
        taken.map((operation) =>
          operation.object.kind === 'tap' ? { operation, error: new Error('busy') } : { operation },
        ),
      );
    }
    t.ok(rounds < 10, `${rounds} rounds`);
    t.ok(model.there(keyOf(up)) !== undefined);
    t.ok(model.there(keyOf(route(1))) !== undefined);
    model.retry();
    const again = model.take(100).map(text);
    t.ok(again.includes('remove tap:main-eth0') && again.includes('remove route:connectivity/0/10.0.1.0/24'));
  },
);

t.test('a reading', async (t) => {
  const model = new Model();
  for (const n of [1, 2, 3]) model.want(route(n));
  settled(model);

  model.beginReading();
  model.want(route(4));
  const during = model.take(10);
  model.settle(done(during));
  model.seen(route(1));
  model.seen(route(2, '192.0.2.66'));
  model.seen(route(99));
  model.endReading();
  t.strictSame(settled(model).sort(), [
    'add route:connectivity/0/10.0.2.0/24',
    'add route:connectivity/0/10.0.3.0/24',
    'remove route:connectivity/0/10.0.99.0/24',
  ]);
  t.equal(model.there(keyOf(route(1))), model.wanted(keyOf(route(1))), 'equal objects are kept once');
});

t.test('what turns out to be another owner’s is forgotten, and nothing done about it', async (t) => {
  const model = new Model();
  model.seen(route(1));
  model.want(route(1));
  model.disown(keyOf(route(1)));
  t.strictSame([model.wanted(keyOf(route(1))), model.there(keyOf(route(1)))], [undefined, undefined]);
  t.strictSame([settled(model), model.there_count], [[], 0]);
  model.want(route(2));
  const operations = model.take(10);
  t.ok(model.isUnderWay(keyOf(route(2))));
  model.disown(keyOf(route(2)));
  t.ok(model.wanted(keyOf(route(2))), 'not while it is on its way');
  model.settle(done(operations));
  t.notOk(model.isUnderWay(keyOf(route(2))));
});

t.test('what was removed while all is read is not there because the reading has shown it', async (t) => {
  const model = new Model();
  model.want(route(1));
  settled(model);
  model.beginReading();
  model.unwant(keyOf(route(1)));
  t.strictSame(settled(model), ['remove route:connectivity/0/10.0.1.0/24']);
  model.seen(route(1));
  t.strictSame(settled(model), [], 'it has shown what was there before');
  model.endReading();
  t.strictSame(settled(model), []);
  model.beginReading();
  model.seen(route(1));
  model.endReading();
  t.strictSame(settled(model), ['remove route:connectivity/0/10.0.1.0/24'], 'and so somebody has added it');
});

t.test('a reading takes the place of one whose end has not been looked at', async (t) => {
  const model = new Model();
  for (const n of [1, 2, 3]) model.want(route(n));
  settled(model);
  model.beginReading();
  model.seen(route(1));
  model.endReading();
  t.notOk(model.scan(1));
  model.beginReading();
  for (const n of [1, 2]) model.seen(route(n));
  model.endReading();
  t.strictSame(settled(model), ['add route:connectivity/0/10.0.3.0/24']);
});

t.test('another VPP has nothing; what is wanted is filed piece by piece', async (t) => {
  const model = new Model();
  for (let n = 0; n < 100; n += 1) model.want(route(n));
  settled(model);
  model.forget();
  t.strictSame([...model.allThere()], []);
  t.notOk(model.scan(99));
  t.equal(model.waiting, 99);
  t.ok(model.scan(10));
  t.equal(settled(model).length, 100);
});

t.test('one form of each object', async (t) => {
  const paths = ['192.0.2.9', '192.0.2.10'].map((next_hop) => ({
    via: 'interface' as const,
    interface: 'main-eth0',
    next_hop,
  }));
  const ecmp: Route = { ...route(1), paths };
  const model = new Model();
  model.want(ecmp);
  settled(model);
  model.beginReading();
  model.seen({ ...ecmp, paths: [...paths].reverse() });
  model.endReading();
  t.strictSame(settled(model), [], 'paths in another order are the same route');

  const sloppy = new Model();
  sloppy.want({ ...route(1), prefix: '10.0.1.77/24' });
  sloppy.want({ ...route(1), prefix: 'FD00:0:0::1/64' });
  sloppy.seen({ ...route(1), prefix: 'fd00::/64' });
  t.strictSame(settled(sloppy), ['add route:connectivity/0/10.0.1.0/24'], 'a prefix has one text');

  const backends = [2, 1, 2].map((n) => ({ address: `10.0.0.${n}`, port: 80 }));
  const vip: ObjectOf<'translation'> = {
    kind: 'translation',
    address: '10.96.0.1',
    port: 80,
    protocol: 'tcp',
    backends,
  };
  const services = new Model();
  services.want(vip);
  const [add] = services.take(1);
  t.match(add?.object, { backends: [{ address: '10.0.0.1' }, { address: '10.0.0.2' }] });
  t.equal((add!.object as typeof vip).backends.length, 2, 'a back end is there once');
  const unsorted = ['10.0.0.10', 'FD00:0::2', '10.0.0.9', 'fd00::10', '9.255.0.1'];
  const sorted = canonical({ ...vip, backends: unsorted.map((address) => ({ address, port: 80 })) });
  t.same(
    sorted.backends.map(({ address }) => address),
    ['9.255.0.1', '10.0.0.9', '10.0.0.10', 'fd00::2', 'fd00::10'],
    'by number, whatever is text',
  );
  t.equal(canonical(sorted), sorted);
});

t.test('what came of operations for a VPP that is gone says nothing of the next one', async (t) => {
  const model = new Model();
  model.want(route(1));
  const old = model.take(1);
  model.forget();
  model.settle(done(old));
  t.equal(model.there_count, 0);
  t.equal(model.take(2).length, 1, 'it is wanted of the next one, too');
  model.settle(done(old));
  t.equal(model.inFlight, 1);
});

/** A pod as VPP has it, nothing of which is wanted any more. */
function going(): Model {
  const model = new Model();
  for (const object of desiredPod(podSpec(1), inputs)) model.seen(object);
  model.wantOnly([]);
  return model;
}

t.test('an interface goes in one piece with what is taken off it, in pieces of any size', async (t) => {
  const whole = going().take(Number.POSITIVE_INFINITY).map(text);
  const bits = whole.filter((each) => each.includes('snat_')).length;
  for (const max of [1, 2, 3, 4, 5, 7]) {
    const model = going();
    const pieces: string[][] = [];
    for (let taken = model.take(max); taken.length > 0; taken = model.take(max)) {
      pieces.push(taken.map(text));
      model.settle(done(taken));
    }
    t.same([...new Set(pieces.flat())].sort(), [...whole].sort(), `${max}`);
    for (const piece of pieces) {
      const limit = piece[0]?.includes('snat_') ? Math.max(max, bits + 1) : max;
      if (piece.length > limit) t.fail(`${max}: ${piece}`);
    }
  }
});

t.test('what VPP would not let go of keeps interface and table, in whatever piece it was', async (t) => {
  const carriers = (texts: readonly string[]) => texts.filter((each) => /^remove (tap|table):/.test(each));
  const model = going();
  const route_first = model.take(1);
  t.match(route_first.map(text), [/^remove route/]);
  const ahead = model.take(100);
  t.strictSame(carriers(ahead.map(text)), [], 'not while it is not known what becomes of the route');
  model.settle([{ operation: route_first[0]!, error: new Error('refused') }]);
  model.settle(done(ahead));
  t.strictSame(carriers(settled(model)), []);
  t.match(
    [...model.failed.values()].map(({ message }) => message).join(),
    /not sent: route:.* is still there/,
  );
  model.retry();
  t.ok(carriers(settled(model)).some((each) => each.startsWith('remove tap')));
  t.equal(model.there_count, 0);
});

t.test('operations that are settled twice were taken once', async (t) => {
  const model = new Model();
  for (const n of [1, 2]) model.want(route(n));
  const [first, second] = [model.take(1), model.take(1)];
  for (const _ of [1, 2]) model.settle(done(first));
  t.equal(model.inFlight, 1);
  model.settle(done(second));
  t.equal(model.inFlight, 0);
  t.same(settled(model), []);
});

t.test('of what is on its way while all is read its outcome tells', async (t) => {
  const model = new Model();
  model.seen(route(1));
  model.want(route(1, '192.0.2.2'));
  model.want(route(2));
  const operations = model.take(2);
  model.beginReading();
  model.seen(route(2));
  model.endReading();
  t.ok(model.scan(10));
  t.equal(model.there_count, 1, 'the one that was there, and is not shown');
  t.same(model.there(keyOf(route(1))), route(1));
  model.settle(done(operations));
  t.same(model.there(keyOf(route(1))), route(1, '192.0.2.2'));
  t.equal(model.there_count, 2);
  t.same(settled(model), []);
});

// --- make before break

type Mode = 'ipip' | 'vxlan' | 'flat';

interface Peer {
  readonly mode: Mode;
  /** Own address, which a node may change. */
  readonly src: string;
  readonly prefixes: number;
}

const uplink = { kind: 'existing_interface', tag: 'main-eth0' } as const;

/** What leads to a node, in whichever way. */
function toPeer(n: number, { mode, src, prefixes }: Peer): VppObject[] {
  const dst = `192.0.2.${n}`;
  const tag = mode === 'ipip' ? ipipTag(dst) : vxlanTag({ vni: 4096, port: 4789, dst });
  const paths: Path[] =
    mode === 'flat'
      ? [{ via: 'next_hop', next_hop: dst }]
      : [{ via: 'interface', interface: tag, next_hop: dst }];
  const routes = Array.from(
    { length: prefixes },
    (_, at): VppObject => ({
      kind: 'route',
      source: 'connectivity',
      table_id: 0,
      prefix: `10.${n}.${at}.0/24`,
      paths,
    }),
  );
  if (mode === 'flat') return routes;
  const flags = (['cnat_feature', 'gso_feature', 'admin_up'] as const).map(
    (flag): VppObject => ({ kind: 'interface_flag', interface: tag, flag }),
  );
  return [
    mode === 'ipip'
      ? { kind: 'ipip_tunnel', tag, src, dst }
      : { kind: 'vxlan_tunnel', tag, src, dst, vni: 4096, port: 4789 },
    { kind: 'unnumbered', interface: tag, of: 'main-eth0' },
    { kind: 'interface_mtu', interface: tag, mtu: 1440 },
    ...flags,
    ...routes,
  ];
}

const arbitraryPeer = fc.option(
  fc.record({
    mode: fc.constantFrom<Mode>('ipip', 'vxlan', 'flat'),
    src: fc.constant('192.0.2.100'),
    prefixes: fc.integer({ min: 0, max: 3 }),
  }),
  { nil: undefined },
);

t.test('a route that is wanted all the time is there all the time, whichever way it leads', async () => {
  const changes = fc.array(
    fc.record({
      peers: fc.array(arbitraryPeer, { minLength: 3, maxLength: 3 }),
      max: fc.integer({ min: 1, max: 20 }),
      rounds: fc.integer({ min: 0, max: 4 }),
    }),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(changes, (todo) => {
      const model = new Model();
      const vpp = new StrictVpp([uplink]);
      let wanted: VppObject[] = [];
      /** Wanted, and there, since before. */
      let lasting = new Set<string>();
      const send = (max: number): number => {
        const operations = model.take(max);
        for (const operation of operations) {
          vpp.run([operation]);
          const keys = new Set(vpp.objects.map(keyOf));
          for (const key of lasting) if (!keys.has(key)) throw new Error(`${key} was away`);
        }
        model.settle(done(operations));
        return operations.length;
      };
      for (const { peers, max, rounds } of todo) {
        wanted = peers.flatMap((peer, n) => (peer === undefined ? [] : toPeer(n, peer)));
        const keys = new Set(wanted.filter(({ kind }) => kind === 'route').map(keyOf));
        lasting = new Set(vpp.objects.map(keyOf).filter((key) => keys.has(key)));
        model.wantOnly(wanted);
        for (let round = 0; round < rounds; round += 1) send(max);
      }
      let left = 0;
      while (send(5) > 0) if (++left > 500) throw new Error('never settles');
      const there = vpp.objects.map((object) => JSON.stringify(canonical(object))).sort();
      const all = [uplink, ...wanted].map((object) => JSON.stringify(canonical(object))).sort();
      if (JSON.stringify(there) !== JSON.stringify(all)) throw new Error(`${there} instead of ${all}`);
    }),
    { numRuns: 300 },
  );
});

t.test('a tunnel whose source has changed is made anew, with what is on it and leads by it', async (t) => {
  const model = new Model();
  const vpp = new StrictVpp([uplink]);
  const run = (src: string): string[] => {
    const wanted = toPeer(1, { mode: 'ipip', src, prefixes: 1 });
    model.wantOnly(wanted);
    const all: Operation[] = [];
    for (let taken = model.take(50); taken.length > 0; taken = model.take(50)) {
      all.push(...taken);
      vpp.run(taken);
      model.settle(done(taken));
    }
    return all.map(text);
  };
  run('192.0.2.100');
  const again = run('192.0.2.101');
  t.strictSame(again, [
    'remove route:connectivity/0/10.1.0.0/24',
    'remove interface_flag:ipip-192.0.2.1/admin_up',
    'remove interface_flag:ipip-192.0.2.1/cnat_feature',
    'remove interface_flag:ipip-192.0.2.1/gso_feature',
    'remove unnumbered:ipip-192.0.2.1',
    'remove ipip_tunnel:ipip-192.0.2.1',
    'add ipip_tunnel:ipip-192.0.2.1',
    'add interface_mtu:ipip-192.0.2.1',
    'add unnumbered:ipip-192.0.2.1',
    'add interface_flag:ipip-192.0.2.1/cnat_feature',
    'add interface_flag:ipip-192.0.2.1/gso_feature',
    'add interface_flag:ipip-192.0.2.1/admin_up',
    'add route:connectivity/0/10.1.0.0/24',
  ]);
});

t.test('when the own address changes routes to one node at a time are away', async () => {
  const peer = fc.record({
    mode: fc.constantFrom<Mode>('ipip', 'vxlan', 'flat'),
    prefixes: fc.integer({ min: 0, max: 3 }),
  });
  const changes = fc.array(
    fc.record({
      peers: fc.array(peer, { minLength: 4, maxLength: 4 }),
      src: fc.constantFrom('192.0.2.100', '192.0.2.101'),
      max: fc.integer({ min: 1, max: 40 }),
      ahead: fc.boolean(),
      rounds: fc.integer({ min: 0, max: 4 }),
    }),
    { minLength: 1, maxLength: 6 },
  );
  const nodeOf = (key: string): string | undefined => /\/10\.(\d)\./.exec(key)?.[1];
  fc.assert(
    fc.property(changes, (todo) => {
      const model = new Model();
      const vpp = new StrictVpp([uplink]);
      let wanted: VppObject[] = [];
      let lasting = new Set<string>();
      const does = (operations: readonly Operation[]): void => {
        for (const operation of operations) {
          vpp.run([operation]);
          const keys = new Set(vpp.objects.map(keyOf));
          const away = new Set([...lasting].flatMap((key) => (keys.has(key) ? [] : nodeOf(key))));
          if (away.size > 1) throw new Error(`of ${away.size} nodes at a time`);
        }
      };
      const send = (max: number, ahead: boolean): number => {
        const operations = model.take(max);
        const next = ahead ? model.take(max) : [];
        for (const each of [operations, next]) {
          does(each);
          model.settle(done(each));
        }
        return operations.length + next.length;
      };
      for (const { peers, src, max, ahead, rounds } of todo) {
        wanted = peers.flatMap((each, n) => toPeer(n, { ...each, src }));
        const keys = new Set(wanted.filter(({ kind }) => kind === 'route').map(keyOf));
        const there = vpp.objects.map(keyOf).filter((key) => keys.has(key));
        lasting = new Set(there);
        model.wantOnly(wanted);
        for (let round = 0; round < rounds; round += 1) send(max, ahead);
      }
      let left = 0;
      while (send(5, true) > 0) if (++left > 500) throw new Error('never settles');
      const there = vpp.objects.map((object) => JSON.stringify(canonical(object))).sort();
      const all = [uplink, ...wanted].map((object) => JSON.stringify(canonical(object))).sort();
      if (JSON.stringify(there) !== JSON.stringify(all)) throw new Error(`${there} instead of ${all}`);
    }),
    { numRuns: 300 },
  );
});

t.test('a route that moves from one renewed tunnel to another is away with one of them', async (t) => {
  const model = new Model();
  const vpp = new StrictVpp([uplink]);
  const of = (src: string, by: number): VppObject[] => {
    const [from, to] = [1, 2].map((n) => toPeer(n, { mode: 'ipip', src, prefixes: 1 }));
    const moves = { ...(to!.at(-1) as Route), prefix: '10.9.0.0/24' };
    return [...from!, ...to!, by === 2 ? moves : { ...moves, paths: (from!.at(-1) as Route).paths }];
  };
  for (const objects of [of('192.0.2.100', 1), of('192.0.2.101', 2)]) {
    model.wantOnly(objects);
    for (let taken = model.take(100); taken.length > 0; taken = model.take(100)) {
      vpp.run(taken);
      model.settle(done(taken));
    }
  }
  t.equal(vpp.objects.length, 1 + of('192.0.2.101', 2).length);
});

t.test('one tunnel that VPP refuses to renew holds up none of the others', async (t) => {
  const model = new Model();
  const of = (src: string) => [1, 2, 3].flatMap((n) => toPeer(n, { mode: 'ipip', src, prefixes: 2 }));
  for (const object of of('192.0.2.100')) model.seen(object);
  model.wantOnly(of('192.0.2.101'));
  t.equal(model.waiting, 3);
  const first = model.take(100);
  const refuses = ({ action, object }: Operation): boolean =>
    (action === 'remove' && keyOf(object) === 'route:connectivity/0/10.2.0.0/24') ||
    keyOf(object) === 'ipip_tunnel:ipip-192.0.2.2';
  const refused = new Error('refused');
  const settle = (taken: readonly Operation[]): void =>
    model.settle(
      taken.map((operation) => (refuses(operation) ? { operation, error: refused } : { operation })),
    );
  settle(first);
  for (let taken = model.take(100); taken.length > 0; taken = model.take(100)) settle(taken);
  const src = (n: number): unknown => (model.there(`ipip_tunnel:ipip-192.0.2.${n}`) as { src?: string }).src;
  t.strictSame([1, 2, 3].map(src), ['192.0.2.101', '192.0.2.100', '192.0.2.101']);
  for (const prefix of ['10.1.0', '10.1.1', '10.2.0', '10.2.1', '10.3.0'])
    t.ok(model.there(`route:connectivity/0/${prefix}.0/24`), `${prefix} leads there`);
  model.retry();
  const again = model.take(100);
  model.settle(done(again));
  while (model.take(100).length > 0) t.fail('all is done at once');
  t.equal(src(2), '192.0.2.101');
});

t.test('a tunnel that is wanted no more stays while VPP refuses the other way', async (t) => {
  const model = new Model();
  const ipip = toPeer(1, { mode: 'ipip', src: '192.0.2.100', prefixes: 1 });
  for (const object of ipip) model.seen(object);
  const vxlan = toPeer(1, { mode: 'vxlan', src: '192.0.2.100', prefixes: 1 });
  model.wantOnly(vxlan);
  const first = model.take(100);
  const refused = new Error('no VXLAN');
  model.settle(first.map((operation) => ({ operation, error: refused })));
  t.notOk(first.some(({ action }) => action === 'remove'));
  t.strictSame(model.take(100), []);
  model.retry();
  const second = settled(model);
  t.equal(second.at(-1), 'remove ipip_tunnel:ipip-192.0.2.1');
  t.ok(
    second.indexOf('add route:connectivity/0/10.1.0.0/24') <
      second.indexOf('remove interface_flag:ipip-192.0.2.1/admin_up'),
  );
  t.strictSame(
    second.filter((line) => line.startsWith('remove route')),
    [],
  );
});

t.test('a route that goes does not wait for one that VPP will not let move', async (t) => {
  const model = new Model();
  for (const object of toPeer(1, { mode: 'ipip', src: '192.0.2.100', prefixes: 2 })) model.seen(object);
  model.wantOnly(toPeer(1, { mode: 'vxlan', src: '192.0.2.100', prefixes: 1 }));
  const first = model.take(100);
  const refused = new Error('no VXLAN');
  model.settle(
    first.map((operation) => ({ operation, ...(operation.action === 'add' && { error: refused }) })),
  );
  t.strictSame(
    first.filter(({ action }) => action === 'remove').map(text),
    ['remove route:connectivity/0/10.1.1.0/24'],
    'and nothing of the tunnel by which the other one leads',
  );
});

t.test('what is wanted and alike takes the place of what was read: nobody keeps both', async (t) => {
  const model = new Model();
  model.seen(route(1));
  const wanted = route(1);
  model.want(wanted);
  t.equal(model.there(keyOf(wanted)), wanted);
  t.strictSame(settled(model), []);
  model.want(route(1, '192.0.2.9'));
  t.equal(model.there(keyOf(wanted)), wanted, 'another one does not');
});

t.test('an exclusion goes when those that take its place are there, in pieces of any size', async (t) => {
  const exclude = (prefix: string): VppObject => ({ kind: 'snat_exclude', prefix, of: 'uplinks' });
  const policy: VppObject = { kind: 'snat_policy', policy: 'k8s', keeper: 'node-snat' };
  const [all, keeper] = [exclude('::/1'), { kind: 'loopback', tag: 'node-snat' } as const];
  const parts = [exclude('1000::/4'), exclude('2000::/4'), exclude('4000::/2')];
  for (let size = 1; size <= 5; size += 1) {
    const model = new Model();
    for (const object of [keeper, policy, all]) model.seen(object);
    for (const object of [keeper, policy, ...parts]) model.want(object);
    model.unwant(keyOf(all));
    const texts: string[] = [];
    for (;;) {
      const operations = model.take(size);
      if (operations.length === 0) break;
      // The next piece may be taken before this one is settled.
      const next = model.take(size);
      texts.push(...[...operations, ...next].map(text));
      model.settle(done(operations));
      model.settle(done(next));
    }
    const expected = [...parts.map((part) => `add ${keyOf(part)}`), `remove ${keyOf(all)}`];
    t.strictSame(texts, expected, `${size} at a time`);
  }
  const model = new Model();
  for (const object of [keeper, policy, all]) model.seen(object);
  for (const object of [keeper, policy, all]) model.unwant(keyOf(object));
  t.ok(settled(model).indexOf(`remove ${keyOf(all)}`) < 2, 'with nothing to be added it goes in its turn');
});

t.test(
  'what is steered is there before a route leads to it, and as long, whatever is on its way',
  async (t) => {
    const prefixes = ['10.244.2.0/26', '10.244.3.0/26'];
    const policy = (bsid: string): VppObject => ({
      kind: 'srv6_policy',
      bsid,
      source: 'fd00::1',
      lists: [{ weight: 1, sids: [`${bsid}:1`] }],
    });
    const steering = (prefix: string, bsid: string): VppObject => ({
      kind: 'srv6_steering',
      table_id: 3,
      prefix,
      bsid,
    });
    const to = (prefix: string, path: Path): Route => ({
      kind: 'route',
      source: 'connectivity',
      table_id: 0,
      prefix,
      paths: [path],
    });
    const flat: Path = { via: 'next_hop', next_hop: '10.0.0.2' };
    const step = fc.oneof(
      fc.record({ at: fc.nat(1), by: fc.constantFrom('cafe::1', 'cafe::2', undefined) }),
      fc.record({ take: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ settle: fc.constant(true) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const model = new Model();
        const vpp = new Map<string, VppObject>();
        const ways: (string | undefined)[] = [undefined, undefined];
        const flights: (readonly Operation[])[] = [];
        const look = (after: Operation): void => {
          for (const object of vpp.values()) {
            if (object.kind === 'srv6_steering' && !vpp.has(`srv6_policy:${object.bsid}`))
              throw new Error(`${object.prefix} is steered into nothing after ${text(after)}`);
            if (object.kind !== 'route' || object.paths[0]?.via !== 'lookup') continue;
            if (!vpp.has(`srv6_steering:3/${object.prefix}`))
              throw new Error(`${object.prefix} leads to nothing after ${text(after)}`);
          }
        };
        const take = (max: number): number => {
          if (flights.length === 2) return 0;
          const operations = model.take(max);
          if (operations.length > 0) flights.push(operations);
          return operations.length;
        };
        const settle = (): void => {
          const operations = flights.shift() ?? [];
          for (const operation of operations) {
            const { action, object } = operation;
            if (action === 'add') vpp.set(keyOf(object), object);
            else vpp.delete(keyOf(object));
            look(operation);
          }
          model.settle(done(operations));
        };
        for (const prefix of prefixes) model.want(to(prefix, flat));
        for (const each of steps) {
          if ('take' in each) take(each.take);
          else if ('settle' in each) settle();
          else {
            const { at, by } = each;
            const prefix = prefixes[at]!;
            ways[at] = by;
            if (by !== undefined) {
              model.want(policy(by));
              model.want(steering(prefix, by));
            }
            model.want(to(prefix, by === undefined ? flat : { via: 'lookup', table_id: 3 }));
            if (by === undefined) model.unwant(keyOf(steering(prefix, '')));
            for (const bsid of ['cafe::1', 'cafe::2'])
              if (!ways.includes(bsid)) model.unwant(keyOf(policy(bsid)));
          }
        }
        while (take(100) > 0 || flights.length > 0) settle();
        const wanted = [
          ...new Set(ways.flatMap((bsid) => (bsid === undefined ? [] : keyOf(policy(bsid))))),
          ...ways.flatMap((bsid, at) => (bsid === undefined ? [] : keyOf(steering(prefixes[at]!, bsid)))),
          ...prefixes.map((prefix) => keyOf(to(prefix, flat))),
        ];
        const [is, is_wanted] = [[...vpp.keys()], wanted].map((keys) => keys.sort().join());
        if (is !== is_wanted) throw new Error(`VPP has ${is}`);
      }),
      { numRuns: 400 },
    );
    const model = new Model();
    model.seen({ ...policy('cafe::1'), source: 'fd00::9' } as VppObject);
    for (const object of [policy('cafe::1'), steering('10.244.2.0/26', 'cafe::1')]) model.want(object);
    const operations = model.take(100);
    t.strictSame(operations.map(text), ['add srv6_policy:cafe::1'], 'nothing is steered into another policy');
    model.settle(operations.map((operation) => ({ operation, error: new Error('taken') })));
    t.strictSame(model.take(100), [], 'nor is that one removed: something may go by it');
    for (const object of [policy('cafe::1'), steering('10.244.2.0/26', 'cafe::1')])
      model.unwant(keyOf(object));
    t.strictSame(settled(model), ['remove srv6_policy:cafe::1']);

    const back = new Model();
    const all = [policy('cafe::1'), steering('10.244.2.0/26', 'cafe::1')];
    const steered = to('10.244.2.0/26', { via: 'lookup', table_id: 3 });
    for (const object of [...all, steered]) {
      back.seen(object);
      back.want(object);
    }
    back.want(to('10.244.2.0/26', flat));
    for (const object of all) back.unwant(keyOf(object));
    back.settle(done(back.take(1)));
    const removal = back.take(1);
    t.strictSame(removal.map(text), ['remove srv6_steering:3/10.244.2.0/26']);
    for (const object of [...all, steered]) back.want(object);
    t.strictSame(back.take(100), [], 'the route waits for what it is to lead to');
    back.settle(done(removal));
    t.strictSame(settled(back), [
      'add srv6_steering:3/10.244.2.0/26',
      'add route:connectivity/0/10.244.2.0/26',
    ]);
  },
);
