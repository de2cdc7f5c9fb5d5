/**
 * Services on real VPPs, end to end: created, changed and deleted under traffic, through the death of the program and of VPP, and 500 changes a
 * second. Where there is no VPP a stand-in takes its place: no packets, but all that VPP is told.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { endpointSlice, kubernetesService, type LabEndpoint } from '../../lab/k8s/calico-objects.js';
import type { Json } from '../../lab/k8s/store.js';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import type { NodeSite } from '../../lab/nodes.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';

const found = findRealVpp();
const has_packets = found.usable;
const vpp: LabClusterOptions['vpp'] = found.usable ? found : { stand_in: { real_devices: true } };
const no_netns = canUseNetns();
const either = no_netns === undefined ? {} : { skip: no_netns };

t.setTimeout(600_000);

const settle_ms = 20_000;
const port = 5001;
const families = ['ip4', 'ip6'] as const;
const vips = { ip4: '10.96.0.10', ip6: 'fd96::10' } as const;

type Node = RunningNode<NodeSite>;
type Services = Readonly<Record<string, string>>;

async function start(test: Test): Promise<LabCluster> {
  const cluster = await LabCluster.start({
    vpp,
    pods: 2,
    environment: { SERVICE_PREFIX: '10.96.0.0/16,fd96::/112' },
  });
  test.teardown(() => cluster.close());
  for (const { topology } of cluster.running)
    for (const { name } of topology.pods) await cluster.traffic.serve(name, port);
  return cluster;
}

/** The pod with its node, as a slice has them. */
const endpoint = (pod: Pod, family: 'ip4' | 'ip6'): LabEndpoint => ({
  address: pod[family],
  node: pod.name.slice(0, 2),
});

const web: Json = kubernetesService({
  name: 'web',
  spec: { clusterIP: vips.ip4, clusterIPs: Object.values(vips), type: 'ClusterIP', ports: [{ port: 80 }] },
});

function slices(name: string, pods: readonly Pod[]): readonly Json[] {
  return families.map((family) =>
    endpointSlice(
      name,
      pods.map((pod) => endpoint(pod, family)),
      [{ port }],
      family,
    ),
  );
}

/** Waits until VPP has these; answers what it has otherwise in the end. */
async function has(node: Node, expected: Services): Promise<unknown> {
  const deadline = performance.now() + settle_ms;
  for (;;) {
    const services = await node.services();
    const differs = [...new Set([...Object.keys(expected), ...Object.keys(services)])].filter(
      (key) => !(key in routes) && services[key] !== expected[key],
    );
    if (differs.length === 0 || performance.now() > deadline)
      return differs.map((key) => `${key}: ${services[key]} in place of ${expected[key]}`);
    await sleep(50);
  }
}

/** Under all services. */
const routes: Services = {
  '10.96.0.0/16': 'unreachable',
  'fd96::/112': 'unreachable',
  '192.0.0.8/32': 'drop',
  '100::1/128': 'drop',
};

const behind = (pods: readonly Pod[]): Services =>
  Object.fromEntries(
    families.map((family) => [
      `tcp ${vips[family]} 80`,
      pods.map((pod) => `${pod[family]} ${port}`).join(', '),
    ]),
  );

t.test('a service under traffic: created, changed, deleted; the program and VPP die', either, async (t) => {
  const cluster = await start(t);
  const { server, traffic } = cluster;
  const [one, two] = cluster.running as [Node, Node];
  const [client, near] = one.topology.pods as [Pod, Pod];
  const [far] = two.topology.pods as [Pod];

  /** Who answers at the VIP, of some connections. */
  const reached = async (family: 'ip4' | 'ip6', count = 12): Promise<readonly string[]> => {
    const at = new Set<string>();
    for (let n = 0; n < count; n += 1) {
      const { receipt, error } = await traffic.connect(client.name, vips[family], 80);
      at.add(receipt?.at ?? `${error}`);
      if (receipt !== undefined) t.equal(receipt.peer, client[family], 'under its own address');
    }
    return [...at].sort();
  };

  await server.put(web, ...slices('web', [near, far]));
  for (const node of cluster.running) t.strictSame(await has(node, behind([near, far])), []);
  t.match(await one.services(), routes);
  t.strictSame(await one.differences(), []);
  if (has_packets) {
    for (const family of families)
      t.strictSame(await reached(family), [near[family], far[family]].sort(), `${family}: both`);
  }

  await server.put(...slices('web', [far]));
  for (const node of cluster.running) t.strictSame(await has(node, behind([far])), []);
  if (has_packets)
    for (const family of families) t.strictSame(await reached(family), [far[family]], 'the other alone');

  t.test('a change a pod makes is no other connection’s affair', { skip: !has_packets }, async (t) => {
    const before = await one.changesSent();
    const long = traffic.connect(client.name, vips.ip4, 80, { bytes: 400_000_000, deadline_ms: 60_000 });
    let over = false;
    void long.then(() => {
      over = true;
    });
    let changes = 0;
    const began = performance.now();
    while (!over && changes < 1000) {
      await server.put(...slices('web', changes % 2 === 0 ? [near, far] : [far]));
      changes += 1;
    }
    const seconds = (performance.now() - began) / 1000;
    t.comment(`${changes} changes of two slices in ${seconds.toFixed(1)} s while 400 MB passed`);
    const { receipt, error } = await long;
    t.equal(receipt?.bytes, 400_000_000, error ?? 'whole');
    t.ok(changes > 20, `${changes} changes`);
    await server.put(...slices('web', [far]));
    t.strictSame(await has(one, behind([far])), []);
    t.ok((await one.changesSent()).length >= before.length);
  });

  t.test('killed and started again, with other objects meanwhile: as after a fresh start', async (t) => {
    await server.put(
      kubernetesService({
        name: 'gone',
        spec: { clusterIP: '10.96.0.11', clusterIPs: ['10.96.0.11'], ports: [{ port: 81 }] },
      }),
      ...slices('gone', [near]),
    );
    t.strictSame(await has(one, { ...behind([far]), 'tcp 10.96.0.11 81': `${near.ip4} ${port}` }), []);
    await one.kill('SIGKILL');
    await server.remove(kubernetesService({ name: 'gone', spec: {} }), ...slices('gone', [near]));
    await server.put(...slices('web', [near]));
    if (has_packets) t.strictSame(await reached('ip4'), [far.ip4], 'VPP goes on meanwhile');
    await one.restart();
    t.strictSame(await has(one, behind([near])), []);
    const survived = await one.services();
    if (has_packets) t.strictSame(await reached('ip4'), [near.ip4]);
    const before = one.vppPid()!;
    process.kill(before, 'SIGKILL');
    await one.untilOtherVpp(before);
    await one.untilReady(60_000);
    t.strictSame(await has(one, behind([near])), [], 'another VPP has all of it');
    t.strictSame(await one.services(), survived, 'and nothing else');
    t.strictSame(await one.differences(), []);
    if (has_packets) for (const family of families) t.strictSame(await reached(family), [near[family]]);
  });

  t.test('no endpoints: a connection fails at once; a service that is gone leaves nothing', async (t) => {
    await server.put(...slices('web', []));
    t.strictSame(await has(one, {}), [], 'no translation of TCP: the route under it refuses');
    if (has_packets) {
      for (const family of families) {
        const { receipt, error, ms } = await traffic.connect(client.name, vips[family], 80);
        t.equal(receipt, undefined);
        t.match(error, /EHOSTUNREACH|ECONNREFUSED|ENETUNREACH|EACCES/, `${family}: ${error}`);
        t.ok(ms < 1500, `${family}: in ${ms} ms`);
      }
    }
    await server.put(...slices('web', [far]));
    t.strictSame(await has(one, behind([far])), []);
    if (has_packets) t.strictSame(await reached('ip4'), [far.ip4], 'and again');
    await server.remove(web, ...slices('web', [far]));
    t.strictSame(await has(one, {}), []);
    t.match(await one.services(), routes);
  });

  t.test('500 changes a second of many services: the last ones are there in the end', async (t) => {
    const count = 50;
    const address = (at: number): string => `10.96.1.${at}`;
    for (let at = 0; at < count; at += 1)
      await server.put(
        kubernetesService({
          name: `s${at}`,
          spec: { clusterIP: address(at), clusterIPs: [address(at)], ports: [{ port: 80 }] },
        }),
      );
    const began = performance.now();
    const changes = 2000;
    for (let n = 0; n < changes; n += 1) {
      const [slice] = slices(`s${n % count}`, (n + (n % count)) % 2 === 0 ? [near] : [near, far]);
      await server.put(slice!);
    }
    const seconds = (performance.now() - began) / 1000;
    t.comment(`${changes} changes in ${seconds.toFixed(1)} s`);
    const last = Object.fromEntries(
      Array.from({ length: count }, (_, at) => {
        const n = changes - count + at;
        const ends = (n + (n % count)) % 2 === 0 ? [near] : [near, far];
        return [`tcp ${address(at)} 80`, ends.map((pod) => `${pod.ip4} ${port}`).join(', ')];
      }),
    );
    t.strictSame(await has(one, last), []);
    t.ok((await one.status())?.ready);
    t.match(await one.status(), { services: { count, refused: 0 } });
  });
});
