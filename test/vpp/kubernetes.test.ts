/**
 * The whole node beside an API server that is a stand-in: down at the start, killed, with its versions forgotten, slow; and what the node makes of what
 * it says. On a real VPP the API server lives behind the uplink, which is taken over under its connections.
 */
import t, { type Test } from 'tap';
import { RemoteApiServer } from '../../lab/k8s/remote.js';
import type { Json } from '../../lab/k8s/store.js';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { NodeOptions } from '../../lab/running-node.js';
import { pool } from '../k8s/k8s-lab.js';
import { NodeScene } from '../k8s/node-scene.js';

const without = canUseNetns();
const vpp = findRealVpp();
const port = 6443;

interface Where {
  readonly vpp: NodeOptions['vpp'];
  readonly namespace: 'node' | 'outside';
  readonly address: string;
}

const node_object: Json = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node', annotations: { kept: 'x' } },
};
const felix = (workloadSourceSpoofing: string): Json => ({
  apiVersion: 'crd.projectcalico.org/v1',
  kind: 'FelixConfiguration',
  metadata: { name: 'default' },
  spec: { workloadSourceSpoofing },
});

class Scene extends NodeScene {
  readonly #where: Where;
  #server: RemoteApiServer | undefined;

  constructor(test: Test, where: Where) {
    const server = `http://${where.address}:${port}`;
    super(test, where.vpp, { cluster: { server, 'insecure-skip-tls-verify': true }, user: {} });
    this.#where = where;
  }

  get server(): RemoteApiServer {
    return this.#server!;
  }

  async serve(...objects: readonly Json[]): Promise<void> {
    const { address, namespace } = this.#where;
    this.#server = await RemoteApiServer.start(address, port, (argv) =>
      this.topology.spawn(namespace, argv, { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await this.server.put(...objects);
  }

  async annotations(): Promise<Json | undefined> {
    const object = await this.server.get('/nodes', 'node');
    return (object?.metadata as { annotations: Json } | undefined)?.annotations;
  }
}

async function all(t: Test, where: Where): Promise<void> {
  const scene = new Scene(t, where);
  const { node } = scene;
  node.launch();
  await node.untilReady();
  t.pass('ready without an API server');
  await scene.until('trouble is said', async () =>
    /ECONNREFUSED/.test(String((await scene.sync()).IPPool?.trouble)),
  );
  t.match(await scene.sync(), { IPPool: { synced: false }, FelixConfiguration: { synced: false } });
  t.strictSame(scene.pools(), []);

  await scene.serve(node_object, pool('one', '10.44.0.0/16'), pool('bad', 'nowhere'), felix('Disabled'));
  await scene.hasPools('10.44.0.0/16 1500');
  await scene.until('addresses are published', async () => {
    const annotations = await scene.annotations();
    return annotations?.['projectcalico.org/IPv4Address'] === '10.0.0.2/24';
  });
  t.strictSame(await scene.annotations(), {
    kept: 'x',
    'projectcalico.org/IPv4Address': '10.0.0.2/24',
    'projectcalico.org/IPv6Address': 'fd00::2/64',
  });
  t.match(
    await scene.sync(),
    { IPPool: { synced: true, objects: 2, faults: { bad: [/^spec.cidr: "nowhere" is not a prefix/] } } },
    'the bad one by name',
  );
  await scene.until(
    'FelixConfiguration',
    async () => (await scene.sync()).FelixConfiguration?.synced === true,
  );
  const ignored = node.untilLogged(/allowedSourcePrefixes is ignored/i);
  await node.add(scene.topology.pods[0]!, {
    annotations: { 'cni.projectcalico.org/allowedSourcePrefixes': '["10.77.0.0/16"]' },
  });
  t.ok(await ignored, 'workloadSourceSpoofing of the FelixConfiguration, though the variable says Any');

  await scene.server.put(felix('Any'), pool('two', '10.45.0.0/16', { vxlanMode: 'Always' }));
  await scene.hasPools('10.44.0.0/16 1440', '10.45.0.0/16 1440');
  await scene.server.kill();
  await scene.until('the server is missed', async () => (await scene.sync()).IPPool?.doing === 'waiting');
  t.strictSame(scene.pools(), ['10.44.0.0/16 1440', '10.45.0.0/16 1440'], 'nothing is lost with the server');
  t.ok((await node.status())?.ready);
  await node.kill('SIGKILL');
  await node.restart();
  // The tap was looked at long before.
  await scene.until('attempts', async () => Number((await scene.sync()).IPPool?.lists) >= 4);
  t.strictSame(
    scene.pools(),
    ['10.44.0.0/16 1440', '10.45.0.0/16 1440'],
    'nor by a new life that does not know the pools yet',
  );
  await scene.serve(node_object, pool('two', '10.45.0.0/16'), pool('three', '10.46.0.0/16'));
  await scene.hasPools('10.45.0.0/16 1500', '10.46.0.0/16 1500');

  await scene.server.does('compact');
  await scene.server.does('cut');
  await scene.server.put(pool('four', '10.47.0.0/16'));
  await scene.server.does('compact');
  await scene.hasPools('10.45.0.0/16 1500', '10.46.0.0/16 1500', '10.47.0.0/16 1500');
  t.pass('a server that has forgotten its versions (410) is listed anew');

  await scene.server.fault({ verb: 'watch', does: { type: 'pieces', bytes: 7 } });
  await scene.server.fault({ verb: 'list', does: { type: 'stall', after_bytes: 100 } });
  await scene.server.does('cut');
  await scene.server.put(pool('five', '10.48.0.0/16'));
  await scene.hasPools('10.45.0.0/16 1500', '10.46.0.0/16 1500', '10.47.0.0/16 1500', '10.48.0.0/16 1500');
  t.pass('a watch that is resumed comes through byte by byte');
  t.ok((await node.status())?.ready);

  await scene.server.does('mend');
  for (const name of ['two', 'three', 'four', 'five']) await scene.server.remove(pool(name, ''));
  await scene.hasPools();
  t.strictSame(await node.stop(), { code: 0, signal: null });
}

// It takes a minute: where there is no real VPP, the parts have their own tests.
const beside = without ?? (vpp.usable ? undefined : `beside a real VPP: ${vpp.why}`);
t.test('on a stand-in of VPP', beside === undefined ? {} : { skip: beside }, (t) =>
  all(t, { vpp: { stand_in: { real_devices: true } }, namespace: 'node', address: '127.0.0.1' }),
);

t.test(
  'on a real VPP, with the API server behind its uplink',
  vpp.usable && without === undefined ? {} : { skip: without ?? (vpp.usable ? '' : vpp.why) },
  async (t) => {
    if (vpp.usable) await all(t, { vpp, namespace: 'outside', address: '10.0.0.1' });
  },
);
