import { inspect } from 'node:util';
import t from 'tap';
import type { Misdeed } from '../../lab/k8s/faults.js';
import { bgp_filter_kind } from '../../src/calico/kinds/bgp-filter.js';
import { bgp_peer_kind } from '../../src/calico/kinds/bgp-peer.js';
import { endpoint_slice_kind } from '../../src/calico/kinds/endpoint-slice.js';
import { type IpPool, ip_pool_kind } from '../../src/calico/kinds/ip-pool.js';
import type { Kind } from '../../src/calico/kinds/kind.js';
import { node_kind } from '../../src/calico/kinds/node.js';
import { secretKind } from '../../src/calico/kinds/secret.js';
import { service_kind } from '../../src/calico/kinds/service.js';
import { pool, startLab, until, untilTurned } from './k8s-lab.js';

/** Two objects a page. */
const pools_of_two: Kind<IpPool> = { ...ip_pool_kind, page: 2 };

// Hundreds of connections: on a busy machine they take their time.
const minutes = 60_000;

t.test(
  'a list comes by page, what changes by watch; synced is said with the last page and not before',
  async (t) => {
    const { server, reflect, asked } = await startLab(t);
    for (const n of [1, 2, 3, 4, 5]) server.put(pool(`p${n}`, `10.${n}.0.0/16`));
    const { reflector, changes, held, isSynced } = reflect(pools_of_two);
    await until('synced', isSynced);
    t.strictSame([...held.keys()], ['p1', 'p2', 'p3', 'p4', 'p5']);
    t.ok(changes.slice(0, -1).every(({ synced }) => !synced));
    t.strictSame(
      asked('list').map(({ query }) => [query.limit, 'continue' in query]),
      [
        ['2', false],
        ['2', true],
        ['2', true],
      ],
    );
    await until('watch', () => server.watchers.length === 1);
    server.put(pool('p6', '10.6.0.0/16'));
    server.put(pool('p1', '10.1.0.0/16', { natOutgoing: true }));
    server.remove(pool('p2', ''));
    await until('changes', () => held.size === 5 && held.get('p1')?.nat_outgoing === true);
    t.strictSame([...held.keys()].sort(), ['p1', 'p3', 'p4', 'p5', 'p6']);
    t.strictSame(reflector.snapshot(), { kind: 'IPPool', synced: true, changed: held });
    t.match(asked('watch')[0]?.query, { allowWatchBookmarks: 'true', timeoutSeconds: '300' });
    t.match(reflector.status(), { doing: 'watching', lists: 1, watches: 1, objects: 5, trouble: undefined });
  },
);

t.test(
  'of a kind with a selector nothing else comes; an object that leaves the selection is gone',
  async (t) => {
    const { server, reflect, asked } = await startLab(t);
    const proxied = { 'service.kubernetes.io/service-proxy-name': 'other' };
    const service = (name: string, labels = {}) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default', labels },
      spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }] },
    });
    server.put(service('a'));
    server.put(service('b', proxied));
    const { held, isSynced } = reflect(service_kind);
    await until('synced', isSynced);
    t.strictSame([...held.keys()], ['default/a']);
    await until('watch', () => server.watchers.length === 1);
    server.put(service('b'));
    server.put(service('a', proxied));
    await until('changes', () => held.has('default/b') && !held.has('default/a'));
    const slices = reflect(endpoint_slice_kind);
    await until('synced', slices.isSynced);
    t.equal(asked('list').at(-1)?.path, '/apis/discovery.k8s.io/v1/endpointslices');
  },
);

t.test('nothing there is said, too', async (t) => {
  const { reflect } = await startLab(t);
  const { changes, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  t.strictSame(changes, [{ kind: 'IPPool', synced: true, changed: new Map() }]);
});

t.test('a change of what is not kept is none', async (t) => {
  const { server, reflect } = await startLab(t);
  const node = (heartbeat: string) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'a', labels: { zone: 'z' } },
    status: { conditions: [{ heartbeat }] },
  });
  server.put(node('1'));
  const { changes, held, isSynced } = reflect(node_kind);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  const before = changes.length;
  for (const heartbeat of ['2', '3', '4']) server.put(node(heartbeat));
  server.put({ ...node('5'), metadata: { name: 'a', labels: { zone: 'y' } } });
  await until('label', () => held.get('a')?.labels.zone === 'y');
  t.equal(changes.length, before + 1);
});

t.test('a bad object is named and left out, the others stay; once it is corrected it is there', async (t) => {
  const { server, reflect, lines } = await startLab(t);
  server.put(pool('good', '10.1.0.0/16'));
  server.put(pool('bad', 'nowhere'));
  server.put(pool('odd', '10.2.0.0/16', { blockSize: 'big' }));
  const { reflector, held, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  t.strictSame([...held.keys()], ['good', 'odd']);
  t.match(reflector.status().faults, {
    bad: [/spec.cidr: "nowhere" is not a prefix/, /./],
    odd: [/spec.blockSize/],
  });
  t.match(
    lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields.object),
    ['bad', 'odd'],
  );
  await until('watch', () => server.watchers.length === 1);
  server.put(pool('bad', '10.3.0.0/16'));
  server.put(pool('good', '10.1.0.0/99'));
  await until('corrected', () => held.has('bad') && !held.has('good'));
  t.strictSame(Object.keys(reflector.status().faults), ['odd', 'good']);
  server.remove(pool('good', ''));
  server.remove(pool('odd', ''));
  await until('removed', () => !held.has('odd'));
  t.strictSame(reflector.status().faults, {});
});

t.test('a watch that is cut goes on where it was, without a list', async (t) => {
  const { server, reflect, asked, clock } = await startLab(t);
  server.put(pool('p1', '10.1.0.0/16'));
  const { held, changes, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  for (const n of [2, 3, 4]) {
    server.cut();
    await until('cut', () => server.watchers.length === 0);
    server.put(pool(`p${n}`, `10.${n}.0.0/16`));
    server.remove(pool('p1', ''));
    server.put(pool('p1', `10.1.${n}.0/24`));
    await untilTurned(clock, 'watch', () => server.watchers.length === 1 && held.has(`p${n}`));
    await until('p1', () => held.get('p1')?.prefix === `10.1.${n}.0/24`);
  }
  t.equal(asked('list').length, 1);
  t.ok(changes.slice(1).every(({ synced }) => synced));
});

t.test('a bookmark moves the place to go on from', async (t) => {
  const { server, reflect, asked, clock } = await startLab(t);
  const { isSynced, held } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  // Changes of others only: nothing of ours tells the version.
  for (const n of [1, 2, 3]) server.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: `n${n}` } });
  const version = server.store.version;
  await clock.advance(60_000);
  server.store.compact();
  server.cut();
  await untilTurned(clock, 'watch', () => asked('watch').length === 2 && server.watchers.length === 1);
  t.equal(asked('watch')[1]?.query.resourceVersion, String(version));
  t.equal(asked('list').length, 1);
  server.put(pool('p', '10.1.0.0/16'));
  await until('change', () => held.has('p'));
});

t.test('410: a list says what was missed, removals too; what is the same is not told again', async (t) => {
  const ways: readonly Misdeed[] = [
    { type: 'error-event', code: 410 },
    { type: 'status', code: 410 },
  ];
  for (const does of ways) {
    const { server, reflect, asked, clock } = await startLab(t);
    server.put(pool('stays', '10.1.0.0/16'));
    server.put(pool('goes', '10.2.0.0/16'));
    const { reflector, changes, held, isSynced } = reflect(pools_of_two);
    await until('synced', isSynced);
    await until('watch', () => server.watchers.length === 1);
    const before = changes.length;
    server.fault({ verb: 'watch', times: 1, does });
    server.cut();
    server.remove(pool('goes', ''));
    server.put(pool('comes', '10.3.0.0/16'));
    await untilTurned(clock, 'relisted', () => held.has('comes') && !held.has('goes'));
    t.equal(asked('list').length, 2);
    t.ok(changes.slice(before).every(({ synced, changed }) => synced && !changed.has('stays')));
    t.equal(reflector.snapshot().changed.get('stays'), held.get('stays'), 'and there once');
    await until('watch', () => server.watchers.length === 1);
  }
});

t.test(
  '410 after an outage: what was asked in vain, before and meanwhile, makes nobody wait for the list',
  async (t) => {
    const { server, reflect, asked, clock } = await startLab(t);
    server.put(pool('goes', '10.1.0.0/16'));
    server.fault({ verb: 'list', times: 8, does: { type: 'refuse' } });
    const { reflector, held, isSynced } = reflect(ip_pool_kind);
    await untilTurned(clock, 'synced', isSynced, 1000);
    await until('watch', () => server.watchers.length === 1);
    const lists = asked('list').length;
    server.fault({ verb: 'watch', times: 6, does: { type: 'refuse' } });
    server.fault({ verb: 'watch', after: 6, times: 1, does: { type: 'error-event', code: 410 } });
    const watches = asked('watch').length;
    server.cut();
    server.remove(pool('goes', ''));
    server.put(pool('comes', '10.2.0.0/16'));
    await untilTurned(clock, 'gone', () => asked('watch').length === watches + 7, 250);
    await until('waits', () => reflector.status().doing === 'waiting');
    await clock.advance(500);
    await until('listed', () => held.has('comes') && !held.has('goes'));
    t.equal(asked('list').length, lists + 1);
  },
);

t.test('a server that says no after an outage is asked as one that says no for the first time', async (t) => {
  const { server, reflect, asked, clock } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  server.fault({ verb: 'list', times: 8, does: { type: 'refuse' } });
  server.fault({ verb: 'list', after: 8, times: 1, does: { type: 'status', code: 429, retry_after_s: 1 } });
  const { reflector, held } = reflect(ip_pool_kind);
  await untilTurned(clock, '429', () => /429/.test(reflector.status().trouble ?? ''), 1000);
  await clock.advance(1000);
  await until('synced', () => held.has('p'));
  await until('watch', () => server.watchers.length === 1);
  server.cut();
  await until('cut', () => reflector.status().doing === 'waiting');
  server.put(pool('q', '10.2.0.0/16'));
  await clock.advance(500);
  await until('a list that was whole has ended the outage', () => held.has('q'));
  t.equal(asked('list').length, 10);

  for (let after = 0; after < 100; after += 1) {
    const does: Misdeed = after % 2 === 0 ? { type: 'refuse' } : { type: 'status', code: 429 };
    server.fault({ verb: 'watch', after, times: 1, does });
  }
  const watches = asked('watch').length;
  server.cut();
  await clock.advance(10 * minutes);
  t.ok(asked('watch').length - watches <= 40, `${asked('watch').length - watches} in ten minutes, by turns`);
});

t.test('410 for ever costs a list every half minute, and what is known stays', async (t) => {
  for (const before_it of [
    [],
    [{ type: 'say', text: '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n' }],
  ] as const) {
    const { server, reflect, asked, clock } = await startLab(t);
    server.put(pool('p', '10.1.0.0/16'));
    for (const does of [...before_it, { type: 'error-event', code: 410 } as const])
      server.fault({ verb: 'watch', does });
    const { changes, held, isSynced } = reflect(ip_pool_kind);
    await until('synced', isSynced);
    await clock.advance(2 * minutes);
    const lists = asked('list').length;
    await clock.advance(10 * minutes);
    t.ok(asked('list').length - lists <= 21, `${asked('list').length - lists} lists in ten minutes`);
    t.ok(asked('list').length - lists >= 15);
    t.strictSame([...held.keys()], ['p']);
    t.equal(changes.length, 2);
    server.faults.clear();
    server.put(pool('q', '10.2.0.0/16'));
    await untilTurned(clock, 'well again', () => held.has('q'), 1000);
  }
});

t.test('a token of a list that always expires: the rest is asked for at once', async (t) => {
  const { server, reflect, asked, lines } = await startLab(t);
  for (const n of [1, 2, 3, 4, 5]) server.put(pool(`p${n}`, `10.${n}.0.0/16`));
  server.fault({ verb: 'list', does: { type: 'expired-page' } });
  const { held, isSynced } = reflect(pools_of_two);
  await until('synced', isSynced);
  t.equal(held.size, 5);
  t.strictSame(
    asked('list').map(({ query }) => query.limit),
    ['2', '2', undefined],
  );
  t.strictSame(lines, []);
});

t.test('a list that is always answered 410 is tried again at growing distance', async (t) => {
  const { server, reflect, asked, clock } = await startLab(t);
  for (const n of [1, 2, 3]) server.put(pool(`p${n}`, `10.${n}.0.0/16`));
  server.fault({ verb: 'list', after: 1, does: { type: 'status', code: 410 } });
  const { reflector, isSynced } = reflect(pools_of_two);
  await until('waits', () => reflector.status().doing === 'waiting');
  t.equal(asked('list').length, 3, 'a page, another, and all at once');
  await clock.advance(5 * minutes);
  t.ok(asked('list').length < 20);
  t.equal(isSynced(), false);
});

t.test(
  'more objects than any cluster has are not taken in; those known stay, and room is used when there is some',
  async (t) => {
    const few: Kind<IpPool> = { ...pools_of_two, objects_max: 3 };
    const { server, reflect, asked, clock } = await startLab(t);
    for (const n of [1, 2, 3, 4, 5]) server.put(pool(`p${n}`, `10.${n}.0.0/16`));
    const { reflector, held, isSynced } = reflect(few);
    await until('waits', () => reflector.status().doing === 'waiting');
    t.match(reflector.status(), { objects: 3, synced: false, trouble: /more than 3 objects/ });
    await clock.advance(5 * minutes);
    t.ok(asked('list').length < 40, `${asked('list').length} pages in five minutes`);
    for (const n of [2, 4]) server.remove(pool(`p${n}`, ''));
    await clock.advance(5 * minutes);
    t.strictSame(
      [isSynced(), [...held.keys()]],
      [false, ['p1', 'p2', 'p3']],
      'an unsynced source removes nothing',
    );
    await reflector.stop();
    const again = reflect(few);
    await until('synced', again.isSynced);
    await until('watch', () => server.watchers.length === 1);
    server.put(pool('p6', '10.6.0.0/16'));
    await until('refused', () => again.reflector.status().doing === 'waiting');
    t.strictSame([...again.held.keys()], ['p1', 'p3', 'p5']);
  },
);

t.test('a server that ignores pages sends all at once', async (t) => {
  const { server, reflect, asked } = await startLab(t);
  for (const n of [1, 2, 3, 4, 5]) server.put(pool(`p${n}`, `10.${n}.0.0/16`));
  server.fault({ verb: 'list', does: { type: 'no-paging' } });
  const { held, isSynced } = reflect(pools_of_two);
  await until('synced', isSynced);
  t.equal(held.size, 5);
  t.equal(asked('list').length, 1);
});

t.test('a server that is gone is asked again at growing distance; what is known stays', async (t) => {
  const { server, reflect, clock, lines, asked } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  const { reflector, changes, held, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  server.fault({ verb: 'watch', does: { type: 'refuse' } });
  const watches = asked('watch').length;
  server.cut();
  await untilTurned(clock, 'waits', () => reflector.status().doing === 'waiting');
  const distances: number[] = [];
  for (let n = watches; n < watches + 9; n += 1)
    distances.push(await untilTurned(clock, 'asked', () => asked('watch').length > n, 250));
  t.ok(
    distances.slice(1).every((distance, n) => distance >= distances[n]! - 250),
    distances.join(' '),
  );
  t.ok(distances.at(-1)! >= 29_000 && distances.at(-1)! <= 31_000);
  t.equal(changes.length, 2);
  t.ok(lines.filter(({ level }) => level === 'warn').length <= 2, 'each cause is said once');
  t.match(reflector.status(), { synced: true, objects: 1, trouble: /ECONNRESET|socket hang up/ });
  server.faults.clear();
  server.put(pool('q', '10.2.0.0/16'));
  await untilTurned(clock, 'well again', () => held.has('q'), 1000);
});

t.test('chance takes away up to half of a delay', async (t) => {
  for (const [random, delay_ms] of [
    [() => 0, 500],
    [() => 0.5, 375],
    [() => 1 - Number.EPSILON, 250],
  ] as const) {
    const { server, reflect, clock, asked } = await startLab(t, { random });
    server.fault({ verb: 'list', times: 1, does: { type: 'status', code: 500 } });
    const { reflector } = reflect(ip_pool_kind);
    await until('waits', () => reflector.status().doing === 'waiting');
    await clock.advance(delay_ms - 1);
    t.equal(asked('list').length, 1);
    await clock.advance(2);
    await until('asked again', () => asked('list').length === 2);
  }
});

t.test('silence: a list and a watch that say nothing more are given up', async (t) => {
  const { server, reflect, clock, asked } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  server.put(pool('q', '10.2.0.0/16'));
  server.fault({ verb: 'list', times: 1, does: { type: 'silent' } });
  server.fault({ verb: 'list', after: 1, times: 1, does: { type: 'stall', after_bytes: 300 } });
  const { reflector, changes, held, isSynced } = reflect(ip_pool_kind);
  const first_ms = await untilTurned(clock, 'second list', () => asked('list').length === 2, 1000);
  t.ok(first_ms >= 30_000 && first_ms <= 32_000, `${first_ms} ms without an answer`);
  t.match(reflector.status().trouble, /no answer within 30 s/);
  const second_ms = await untilTurned(clock, 'third list', () => asked('list').length === 3, 1000);
  t.ok(second_ms >= 30_000 && second_ms <= 33_000, `${second_ms} ms in the middle of an object`);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  const before = changes.length;

  server.fault({ verb: 'watch', times: 1, does: { type: 'stall', after_bytes: 100 } });
  server.cut();
  await untilTurned(
    clock,
    'stalled watch',
    () => asked('watch').length === 2 && server.watchers.length === 1,
  );
  server.put(pool('p', '10.1.0.0/16', { natOutgoing: true }));
  const third_ms = await untilTurned(clock, 'third watch', () => asked('watch').length === 3, 1000);
  t.ok(third_ms >= 149_000 && third_ms <= 153_000, `${third_ms} ms in the middle of an event`);
  await until('change', () => held.get('p')?.nat_outgoing === true);
  t.equal(changes.length, before + 1);
  t.equal(asked('list').length, 3, 'no list was needed');
});

t.test('broken at any byte, a list costs itself and a watch nothing', async (t) => {
  const { server, reflect, clock, held, size } = await (async () => {
    const lab = await startLab(t);
    lab.server.put(pool('p', '10.1.0.0/16', { name: 'a "quoted" \\ {[,]} text', more: [[{}], [1, 2]] }));
    lab.server.put(pool('ü', '10.2.0.0/16'));
    return { ...lab, held: new Map<string, unknown>(), size: 900 };
  })();
  for (let after_bytes = 0; after_bytes < size; after_bytes += 23) {
    server.faults.clear();
    server.fault({ verb: 'list', times: 1, does: { type: 'cut', after_bytes } });
    server.fault({ verb: 'watch', times: 1, does: { type: 'cut', after_bytes } });
    const one = reflect(ip_pool_kind);
    await untilTurned(clock, 'synced', one.isSynced);
    await untilTurned(clock, 'watch', () => server.watchers.length === 1);
    server.put(pool('p', '10.1.0.0/16', { blockSize: 20 + (after_bytes % 10) }));
    server.put(pool('ü', '10.2.0.0/16', { blockSize: 20 + (after_bytes % 10) }));
    await untilTurned(clock, 'change', () => one.held.get('ü')?.block_size === 20 + (after_bytes % 10));
    held.set(String(after_bytes), [...one.held.keys()]);
    await one.reflector.stop();
    await until('closed', () => server.watchers.length === 0);
  }
  t.ok(
    [...held.values()].every((keys) => `${keys}` === 'p,ü'),
    inspect(held),
  );
});

t.test('in pieces of any size, a list and its watch read the same', async (t) => {
  for (const bytes of [1, 2, 3, 7, 64]) {
    const { server, reflect } = await startLab(t);
    server.put(pool('p', '10.1.0.0/16', { name: 'a "quoted" \\" {[,]} text ü', more: [[{}], [1, 2]] }));
    server.put(pool('ü', '10.2.0.0/16'));
    server.fault({ verb: 'list', does: { type: 'pieces', bytes } });
    server.fault({ verb: 'watch', does: { type: 'pieces', bytes } });
    const { held, isSynced } = reflect(ip_pool_kind);
    await until('synced', isSynced);
    await until('watch', () => server.watchers.length === 1);
    server.put(pool('ö', '10.3.0.0/16'));
    await until('change', () => held.has('ö'));
    t.strictSame([...held.keys()], ['p', 'ü', 'ö'], `${bytes} bytes`);
  }
});

t.test('a line of 5 MB is passed over; what comes behind it counts, what was known stays', async (t) => {
  const { server, reflect, lines, asked } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  server.fault({ verb: 'watch', times: 1, does: { type: 'long-line', bytes: 5 * 2 ** 20 } });
  const { held, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  server.put(pool('q', '10.2.0.0/16'));
  await until('change', () => held.has('q'));
  t.strictSame([...held.keys()], ['p', 'q']);
  t.match(lines, [{ level: 'warn', fields: { cause: /larger than 2097152 bytes/ } }]);
  t.equal(asked('list').length, 1);
});

t.test('a list with an object too large to be read removes nothing: it may be just that one', async (t) => {
  const { server, reflect, clock, asked } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  server.put(pool('q', '10.2.0.0/16'));
  const { held, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  server.fault({ verb: 'watch', times: 1, does: { type: 'status', code: 410 } });
  server.cut();
  await until('cut', () => server.watchers.length === 0);
  server.put(pool('p', '10.1.0.0/16', { text: 'x'.repeat(3 * 2 ** 20) }));
  server.remove(pool('q', ''));
  server.put(pool('r', '10.3.0.0/16'));
  await untilTurned(clock, 'listed', () => asked('list').length === 2 && held.has('r'));
  await until('watch', () => server.watchers.length === 1);
  t.strictSame([...held.keys()], ['p', 'q', 'r']);
});

t.test('an event that cannot be read is made good by a list', async (t) => {
  for (const text of [
    '{"type":"ADDED","obj\n',
    '[]\n',
    '{"type":"NEWS","object":{}}\n',
    '{"type":"ADDED"}\n',
  ]) {
    const { server, reflect, clock, asked } = await startLab(t);
    server.put(pool('p', '10.1.0.0/16'));
    server.fault({ verb: 'watch', times: 1, does: { type: 'say', text } });
    const { held, isSynced } = reflect(ip_pool_kind);
    await until('synced', isSynced);
    await untilTurned(clock, 'watch', () => asked('watch').length === 2 && server.watchers.length === 1);
    t.equal(asked('list').length, 2);
    server.put(pool('q', '10.2.0.0/16'));
    await until('change', () => held.has('q'));
  }
});

t.test('something else than a list is no empty list', async (t) => {
  const { server, reflect, clock, asked } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  const { reflector, held, changes, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  const before = changes.length;
  server.fault({ verb: 'watch', times: 1, does: { type: 'status', code: 410 } });
  const texts = ['<html>', '{}', '{"metadata":{},"items":[]}', '{"items":[]', ''];
  for (const [after, text] of texts.entries()) {
    server.fault({ verb: 'list', after, times: 1, does: { type: 'say', text: `${text}\n` } });
    server.fault({ verb: 'list', after, times: 1, does: { type: 'cut', after_bytes: text.length + 1 } });
  }
  server.cut();
  await untilTurned(clock, 'tried', () => asked('list').length === 2);
  await untilTurned(clock, 'waits', () => reflector.status().doing === 'waiting');
  t.match(reflector.status(), { synced: true, objects: 1, trouble: /./ });
  await untilTurned(
    clock,
    'well again',
    () => server.watchers.length === 1 && asked('list').length > 2,
    1000,
  );
  t.strictSame([...held.keys()], ['p']);
  t.equal(changes.length, before);
});

t.test('a receiver that takes its time holds the server back, and loses nothing', async (t) => {
  const { server, reflect } = await startLab(t);
  let release: () => void = () => {};
  const held_back = new Promise<void>((resolve) => {
    release = resolve;
  });
  let blocking = false;
  const { changes, held, isSynced } = reflect(ip_pool_kind, () => (blocking ? held_back : undefined));
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  blocking = true;
  const text = 'x'.repeat(50_000);
  server.put(pool('p0', '10.0.0.0/16'));
  await until('blocked', () => held.size === 1);
  const before = changes.length;
  for (let n = 1; n <= 400; n += 1) server.put(pool(`p${n}`, `10.${n % 200}.0.0/16`, { text }));
  let last = -1;
  await until('the server stands', () => {
    const unsent = server.watchers[0]!.answer.unsent_bytes;
    const stands = unsent === last;
    last = unsent;
    return stands && changes.length === before;
  });
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  const unsent = server.watchers[0]!.answer.unsent_bytes;
  t.ok(unsent > 8e6, `${unsent} of 20000000 bytes are still the server's`);
  t.equal(changes.length, before);
  release();
  await until('all', () => held.size === 401);
});

t.test('a flood of events leaves the loop its turns', async (t) => {
  const { server, reflect } = await startLab(t);
  const { changes, held, isSynced } = reflect({ ...ip_pool_kind, objects_max: 20_000 });
  await until('synced', isSynced);
  await until('watch', () => server.watchers.length === 1);
  const before = changes.length;
  let turns = 0;
  let most = 0;
  const count = (): void => {
    turns += 1;
    most = Math.max(most, changes.at(-1)?.changed.size ?? 0);
    if (held.size < 20_000) setImmediate(count);
  };
  setImmediate(count);
  for (let n = 0; n < 20_000; n += 1) server.put(pool(`p${n}`, `10.${n % 250}.0.0/16`));
  await until('all', () => held.size === 20_000);
  t.ok(most < 1000, `at most ${most} objects in a turn`);
  t.ok(turns >= changes.length - before, `${turns} turns, ${changes.length - before} changes`);
});

t.test(
  'a kind that the API does not have: none, if Calico may lack it; otherwise not known yet',
  async (t) => {
    const { server, reflect, clock } = await startLab(t, { without: ['BGPFilter', 'BGPPeer'] });
    const filters = reflect(bgp_filter_kind);
    const peers = reflect(bgp_peer_kind);
    const absent_ms = await untilTurned(clock, 'filters', filters.isSynced);
    t.ok(
      absent_ms >= 7500 && absent_ms <= 8000,
      `${absent_ms} ms: an API server that starts has nothing for a moment`,
    );
    t.equal(filters.held.size, 0);
    await clock.advance(5 * minutes);
    t.strictSame(peers.changes, []);
    t.match(peers.reflector.status(), { synced: false, trouble: /no bgppeers .*is Calico installed/ });
    const { calicoCrds } = await import('../../lab/k8s/calico-crds.js');
    for (const definition of calicoCrds('crd.projectcalico.org/v1')) server.put(definition);
    server.put({
      apiVersion: 'crd.projectcalico.org/v1',
      kind: 'BGPFilter',
      metadata: { name: 'f' },
      spec: {},
    });
    await untilTurned(clock, 'both', () => peers.isSynced() && filters.held.has('f'), 1000);
  },
);

t.test('a kind that is taken away keeps what was known', async (t) => {
  const { server, reflect, clock, asked } = await startLab(t);
  server.put(pool('p', '10.1.0.0/16'));
  const { reflector, held, isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  const definition = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'ippools.crd.projectcalico.org' },
  };
  const there = server.store.get(
    'apiextensions.k8s.io/customresourcedefinitions',
    'ippools.crd.projectcalico.org',
  )!;
  server.remove(definition);
  server.cut();
  await untilTurned(clock, 'noticed', () => /no ippools/.test(reflector.status().trouble ?? ''), 1000);
  t.strictSame([[...held.keys()], reflector.status().synced], [['p'], true]);
  server.put(there);
  server.put(pool('q', '10.2.0.0/16'));
  await untilTurned(clock, 'back', () => held.has('q'), 1000);
  t.ok(asked('discovery').length < 20);
});

t.test(
  'both versions of Calico’s API: the older where both are served, the newer where it is alone or asked for',
  async (t) => {
    const both = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'] as const;
    for (const [versions, only, expected] of [
      [both, undefined, 'crd.projectcalico.org/v1'],
      [['projectcalico.org/v3'], undefined, 'projectcalico.org/v3'],
      [both, 'projectcalico.org/v3', 'projectcalico.org/v3'],
    ] as const) {
      const { server, reflect, asked } = await startLab(t, { versions, ...(only && { only }) });
      server.put({ ...pool('p', '10.1.0.0/16'), apiVersion: expected });
      const one = reflect(ip_pool_kind);
      const other = reflect(bgp_peer_kind);
      await until('synced', () => one.isSynced() && other.isSynced());
      t.equal(asked('list')[0]?.path, `/apis/${expected}/ippools`);
      t.ok(one.held.has('p'));
      const paths = asked('discovery').map(({ path }) => path);
      t.equal(new Set(paths).size, paths.length, 'each version is asked for once');
    }
  },
);

t.test('refusals say what to do; the time that a server asks for is waited', async (t) => {
  const { server, reflect, clock, asked } = await startLab(t);
  server.fault({ verb: 'list', times: 1, does: { type: 'status', code: 403 } });
  server.fault({ verb: 'list', after: 1, times: 1, does: { type: 'status', code: 429, retry_after_s: 17 } });
  server.fault({ verb: 'list', after: 2, times: 1, does: { type: 'status', code: 401 } });
  const { reflector, isSynced } = reflect(ip_pool_kind);
  await until('403', () => reflector.status().trouble !== undefined);
  t.match(
    reflector.status().trouble,
    /GET \/apis\/crd.projectcalico.org\/v1\/ippools: answered 403; told to fail; give the service account a role/,
  );
  await untilTurned(clock, '429', () => /429/.test(reflector.status().trouble ?? ''));
  const waited_ms = await untilTurned(clock, '401', () => asked('list').length === 3, 500);
  t.ok(waited_ms >= 16_500 && waited_ms <= 17_500, `${waited_ms} ms`);
  await untilTurned(clock, 'synced', isSynced);
  t.equal(reflector.status().trouble, undefined);
});

t.test('a version that the server has lost: after three refusals a list', async (t) => {
  const { server, reflect, clock, asked } = await startLab(t);
  const { isSynced } = reflect(ip_pool_kind);
  await until('synced', isSynced);
  server.fault({ verb: 'watch', times: 3, does: { type: 'error-event', code: 504 } });
  await until('watch', () => server.watchers.length === 1);
  server.cut();
  await untilTurned(clock, 'list', () => asked('list').length === 2, 500);
  const verbs = server.requests.map(({ verb }) => verb);
  const between = verbs.slice(verbs.indexOf('list') + 1, verbs.lastIndexOf('list'));
  t.strictSame(between, ['watch', 'watch', 'watch', 'watch'], 'the one that was cut, and three');
  await untilTurned(clock, 'watch', () => server.watchers.length === 1);
});

t.test(
  'a Secret by name: others are not asked for, a new password is told, and it is in no text',
  async (t) => {
    const { server, reflect, lines, asked } = await startLab(t);
    const secret = (name: string, password: string) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: 'vpp' },
      data: { key: Buffer.from(password).toString('base64') },
    });
    server.put(secret('other', 'hunter1'));
    const { reflector, changes, held, isSynced } = reflect(secretKind('vpp', 'bgp'));
    await until('synced', isSynced);
    t.equal(held.size, 0, 'a Secret that is missing is known to be missing');
    await until('watch', () => server.watchers.length === 1);
    for (const password of ['hunter2', 'hunter3']) {
      server.put(secret('bgp', password));
      await until(password, () => held.get('bgp')?.get('key')?.reveal() === password);
    }
    server.put({ ...secret('bgp', ''), data: { key: 'aHVudGVyNA==', odd: ['hunter5'] } });
    await until('hunter4', () => held.get('bgp')?.get('key')?.reveal() === 'hunter4');
    t.strictSame([...held.keys()], ['bgp']);
    t.ok(
      [...asked('list'), ...asked('watch')].every(
        ({ path, query }) =>
          path === '/api/v1/namespaces/vpp/secrets' && query.fieldSelector === 'metadata.name=bgp',
      ),
    );
    t.match(reflector.status().faults, { bgp: [/data.odd/] });
    const told = inspect([lines, changes, reflector, reflector.status(), reflector.snapshot()], {
      depth: 20,
      showHidden: true,
    });
    t.notMatch(told, /hunter|aHVudGVy/);
  },
);

t.test('a receiver that fails is heard of, and the next change comes', async (t) => {
  const { server, reflect, lines } = await startLab(t);
  let failing = true;
  const { held, isSynced } = reflect(ip_pool_kind, () => {
    if (failing) throw new Error('no');
  });
  await until('synced', isSynced);
  t.match(lines, [{ level: 'error', text: /a receiver failed/ }]);
  failing = false;
  await until('watch', () => server.watchers.length === 1);
  server.put(pool('p', '10.1.0.0/16'));
  await until('change', () => held.has('p'));
});

t.test('stop: in any state nothing is told any more, and nothing is left behind', async (t) => {
  const states: readonly (readonly [
    string,
    readonly Parameters<Awaited<ReturnType<typeof startLab>>['server']['fault']>[0][],
  ])[] = [
    ['watching', []],
    ['listing', [{ verb: 'discovery', does: { type: 'silent' } }]],
    ['listing', [{ verb: 'list', does: { type: 'silent' } }]],
    ['listing', [{ verb: 'list', does: { type: 'stall', after_bytes: 200 } }]],
    ['waiting', [{ verb: 'list', does: { type: 'status', code: 500 } }]],
  ];
  for (const [doing, faults] of states) {
    const { server, reflect, clock } = await startLab(t);
    server.put(pool('p', '10.1.0.0/16'));
    for (const fault of faults) server.fault(fault);
    const { reflector, changes } = reflect(ip_pool_kind);
    await until(
      doing,
      () =>
        reflector.status().doing === doing &&
        server.requests.some(({ verb }) => verb === (faults[0]?.verb ?? 'watch')),
    );
    await reflector.stop();
    const told = changes.length;
    server.put(pool('q', '10.2.0.0/16'));
    await until('closed', () => server.watchers.length === 0);
    await until('no timer but the server’s bookmarks', () => clock.pending === 1);
    t.equal(changes.length, told);
    t.equal(reflector.status().doing, 'stopped');
  }
});

t.test('stopped by its own receiver, in the middle of a list', async (t) => {
  const { server, reflect } = await startLab(t);
  for (const n of [1, 2, 3, 4]) server.put(pool(`p${n}`, `10.${n}.0.0/16`));
  let stopping: Promise<void> | undefined;
  const one = reflect(pools_of_two, () => {
    stopping ??= one.reflector.stop();
  });
  await until('stopped by its receiver', () => stopping !== undefined);
  await stopping;
  t.equal(one.changes.length, 1);
  t.equal(one.reflector.status().doing, 'stopped');
});

t.test('one that waits for another’s question, or for its receiver, ends as well', async (t) => {
  const { server, reflect } = await startLab(t);
  for (let n = 0; n < 40; n += 1) server.put(pool(`p${n}`, `10.${n}.0.0/16`, { text: 'x'.repeat(3000) }));
  server.fault({ verb: 'discovery', times: 1, does: { type: 'silent' } });
  const stopped = reflect(ip_pool_kind);
  const waits = reflect(ip_pool_kind);
  await until('asked', () => server.requests.length === 1);
  await stopped.reflector.stop();
  await until('the other asks itself', waits.isSynced);
  const { reflector, changes } = reflect(ip_pool_kind, () => new Promise(() => {}));
  await until('held', () => changes.length === 1);
  // What is left of the list arrives meanwhile.
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await reflector.stop();
  t.equal(reflector.status().doing, 'stopped', 'while a receiver holds it');
  t.equal(changes.length, 1);
});
