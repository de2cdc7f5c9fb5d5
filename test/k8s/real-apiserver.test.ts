import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findRealApiServer, RealApiServer, Wire } from '../../lab/k8s/real-apiserver.js';
import type { Json } from '../../lab/k8s/store.js';
import { canUseNetns } from '../../lab/netns.js';
import { block_affinity_kind } from '../../src/calico/kinds/block-affinity.js';
import { ip_pool_kind } from '../../src/calico/kinds/ip-pool.js';
import type { Kind } from '../../src/calico/kinds/kind.js';
import { systemClock } from '../../src/clock.js';
import { inClusterAccess } from '../../src/k8s/access.js';
import { ApiClient } from '../../src/k8s/api-client.js';
import { Discovery } from '../../src/k8s/discovery.js';
import { type Change, Reflector } from '../../src/k8s/reflector.js';
import { observe, recorded } from './api-contract.js';
import { pool, recordingLog } from './k8s-lab.js';
import { NodeScene } from './node-scene.js';

// Servers start here, three times.
const programs = findRealApiServer();
const netns_missing = canUseNetns();

/** Real servers take real time, on cores that others want as well. */
const patience_ms = 180_000;

async function eventually(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + patience_ms;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`never seen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** One server for all tests; each has its own way to it, and a service account as in a pod. */
async function connect(t: Test, server: RealApiServer, name: string) {
  const wire = new Wire(server.port);
  const port = await wire.open();
  t.teardown(() => wire.close());
  const directory = t.testdir({ token: `of-${name}`, 'ca.crt': server.ca });
  const environment = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) };
  const client = new ApiClient(inClusterAccess(environment, directory), systemClock);
  const { lines, log } = recordingLog();

  function reflect<T>(kind: Kind<T>, only?: string) {
    const held = new Map<string, T>();
    const changes: Change<T>[] = [];
    const reflector = new Reflector<T>({
      kind,
      client,
      discovery: new Discovery(client, only),
      clock: systemClock,
      log,
      random: Math.random,
      deliver(change) {
        changes.push(change);
        for (const [key, value] of change.changed) {
          if (value === undefined) held.delete(key);
          else held.set(key, value);
        }
      },
    });
    t.teardown(() => reflector.stop());
    reflector.start();
    return { reflector, held, changes, isSynced: () => changes.at(-1)?.synced === true };
  }
  return { wire, reflect, lines };
}

/** More than one page. */
const affinities = 1200;

const affinity = (n: number): Json => ({
  apiVersion: 'crd.projectcalico.org/v1',
  kind: 'BlockAffinity',
  metadata: { name: `b${n}` },
  spec: { cidr: `10.${n >> 8}.${n & 255}.0/26`, node: 'a', state: 'confirmed', deleted: 'false' },
});

if (typeof programs === 'string') t.test('a real API server', { skip: programs }, async () => {});
else
  t.test('a real API server', { timeout: 580_000 }, async (t) => {
    const server = new RealApiServer(programs, join(t.testdir({}), 'server'));
    t.teardown(() => server.stop());
    await server.start();
    await server.installCalico('crd.projectcalico.org/v1');
    for (let n = 0; n < affinities; n += 100)
      await Promise.all(Array.from({ length: 100 }, (_, k) => server.create(affinity(n + k))));

    await t.test('it answers as is recorded', async (t) => {
      t.strictSame(await observe(new URL(`https://127.0.0.1:${server.port}`)), recorded);
    });

    await t.test('pages, and what changes', async (t) => {
      const { reflect } = await connect(t, server, 'pages');
      const blocks = reflect(block_affinity_kind);
      const pools = reflect(ip_pool_kind);
      await eventually('synced', () => blocks.isSynced() && pools.isSynced());
      t.equal(blocks.held.size, affinities);
      await eventually('watches', () => pools.reflector.status().doing === 'watching');
      await server.create(pool('p', '10.0.0.0/16'));
      await eventually('added', () => pools.held.has('p'));
      await server.patch(pool('p', '10.0.0.0/16', { ipipMode: 'Always' }));
      await eventually('modified', () => pools.held.get('p')?.ipip === 'Always');
      await server.remove(pool('p', ''));
      await eventually('deleted', () => !pools.held.has('p'));
      t.match(pools.reflector.status(), { lists: 1, watches: 1, faults: {} });
    });

    await t.test('a slow wire', async (t) => {
      const { reflect, wire } = await connect(t, server, 'slow');
      wire.bytes_a_turn = 97;
      const { held, isSynced } = reflect(block_affinity_kind);
      await eventually('synced', isSynced);
      t.equal(held.size, affinities);
    });

    await t.test('killed and started again: what was known stays, what is new comes', async (t) => {
      const { reflect } = await connect(t, server, 'killed');
      const { reflector, held, changes, isSynced } = reflect(block_affinity_kind);
      await eventually('synced', isSynced);
      await eventually('watch', () => reflector.status().doing === 'watching');
      await server.killServer();
      await eventually('noticed', () => reflector.status().trouble !== undefined);
      t.equal(held.size, affinities);
      const before = changes.length;
      await server.startServer();
      await server.create(affinity(affinities));
      await eventually('new', () => held.has(`b${affinities}`));
      t.strictSame(
        changes.slice(before).map(({ changed, synced }) => [[...changed.keys()], synced]),
        [[[`b${affinities}`], true]],
        'nothing that was known is told again',
      );
      t.comment(reflector.status());
    });

    await t.test('stopped for a while', async (t) => {
      const { reflect } = await connect(t, server, 'stopped');
      const { reflector, held, isSynced } = reflect(ip_pool_kind);
      await eventually('synced', isSynced);
      await eventually('watch', () => reflector.status().doing === 'watching');
      server.signal('SIGSTOP');
      const created = new Promise<void>((resolve) => {
        setTimeout(() => {
          server.signal('SIGCONT');
          resolve(server.create(pool('after', '10.3.0.0/16')).then(() => {}));
        }, 2000);
      });
      await created;
      await eventually('after', () => held.has('after'));
      t.equal(reflector.status().lists, 1);
    });

    await t.test('compacted while nobody listened: 410, and a list that says what is gone', async (t) => {
      const { reflect, wire } = await connect(t, server, 'compacted');
      const { reflector, held, changes, isSynced } = reflect(ip_pool_kind);
      await eventually('synced', isSynced);
      await eventually('watch', () => reflector.status().doing === 'watching');
      wire.cut();
      await eventually('cut', () => reflector.status().doing === 'waiting');
      const before = changes.length;
      await server.remove(pool('after', ''));
      const last = await server.create(pool('last', '10.4.0.0/16'));
      for (let n = 0; n < 10; n += 1) await server.patch(pool('last', '10.4.0.0/16', { blockSize: 20 + n }));
      const newest = await server.patch(pool('last', '10.4.0.0/16', { blockSize: 26 }));
      const { resourceVersion } = newest.metadata as { resourceVersion: string };
      t.not(resourceVersion, (last.metadata as { resourceVersion: string }).resourceVersion);
      await server.compact(resourceVersion);
      // Its cache still has what etcd forgot.
      await server.killServer();
      await server.startServer();
      wire.is_cut = false;
      await eventually('listed', () => held.get('last')?.block_size === 26 && !held.has('after'));
      await eventually('watch', () => reflector.status().doing === 'watching');
      t.equal(reflector.status().lists, 2, 'by a second list');
      t.strictSame(
        changes
          .slice(before)
          .flatMap(({ changed }) => [...changed.keys()])
          .sort(),
        ['after', 'last'],
      );
    });

    await t.test(
      'the whole node: down at its start, slow, killed, compacted',
      netns_missing === undefined ? {} : { skip: netns_missing },
      async (t) => {
        const ca = Buffer.from(server.ca).toString('base64');
        const scene = new NodeScene(
          t,
          { stand_in: { real_devices: true } },
          {
            cluster: { server: 'https://127.0.0.1:6443', 'certificate-authority-data': ca },
            user: { token: 'of-node' },
          },
        );
        const wire = new Wire(server.port);
        // The path of tap's own directory is too long for a socket.
        const path = join(scene.node.directory, 'wire');
        await wire.openAt(path);
        t.teardown(() => wire.close());
        wire.is_cut = true;
        const bridge = `const net = require('node:net');
          net.createServer((near) => {
            const far = net.connect(${JSON.stringify(path)});
            for (const [a, b] of [[near, far], [far, near]]) a.on('error', () => {}).on('close', () => b.destroy()).pipe(b);
          }).listen(6443, '127.0.0.1');`;
        scene.topology.spawn('node', [process.execPath, '-e', bridge]);
        const { node } = scene;
        node.launch();
        await node.untilReady(patience_ms);
        await scene.until('missed', async () => (await scene.sync()).IPPool?.trouble !== undefined);
        /** With the pool that the test before has left. */
        const routes = (...more: string[]) =>
          ['10.4.0.0/16', ...more].map((prefix) => `${prefix} 1500`).sort();
        wire.bytes_a_turn = 1024;
        wire.is_cut = false;
        await scene.hasPools(...routes());
        t.pass('it comes up without one, and reads one that is slow');

        wire.bytes_a_turn = Number.POSITIVE_INFINITY;
        await server.killServer();
        await scene.until('killed', async () => (await scene.sync()).IPPool?.doing === 'waiting');
        t.strictSame(scene.pools(), routes(), 'nothing is lost');
        t.ok((await node.status())?.ready);
        await server.startServer();
        await server.create(pool('node-1', '10.44.0.0/16'));
        await server.create({ ...pool('node-bad', '10.45.0.0/16'), spec: { cidr: '10.45.0/16' } });
        await scene.hasPools(...routes('10.44.0.0/16'));
        await scene.until('the bad one by name', async () => {
          const { faults } = (await scene.sync()).IPPool as { faults?: Record<string, string[]> };
          return /is not a prefix/.test(String(faults?.['node-bad']));
        });

        wire.cut();
        await scene.until('cut', async () => (await scene.sync()).IPPool?.doing === 'waiting');
        await server.remove(pool('node-1', ''));
        const newest = await server.create(pool('node-2', '10.46.0.0/16'));
        await server.compact((newest.metadata as { resourceVersion: string }).resourceVersion);
        await server.killServer();
        await server.startServer();
        wire.is_cut = false;
        await scene.hasPools(...routes('10.46.0.0/16'));
        // Each kind is read for itself, and tried again in its own time.
        await scene.until('both are read', async () => {
          const { IPPool, FelixConfiguration } = await scene.sync();
          return IPPool?.synced === true && FelixConfiguration?.synced === true;
        });
        for (const name of ['node-2', 'node-bad']) await server.remove(pool(name, ''));
        t.strictSame(await node.stop(), { code: 0, signal: null });
      },
    );

    await t.test('the newer API where it is asked for', async (t) => {
      await server.installCalico('projectcalico.org/v3');
      await server.create({ ...pool('newer', '10.5.0.0/16'), apiVersion: 'projectcalico.org/v3' });
      const { reflect } = await connect(t, server, 'newer');
      const { held, isSynced } = reflect(ip_pool_kind, 'projectcalico.org/v3');
      await eventually('synced', isSynced);
      t.strictSame([...held.keys()], ['newer']);
    });
  });
