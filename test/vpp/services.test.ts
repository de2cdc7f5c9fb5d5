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
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import { needs } from '../kit/needs.js';

const found = findRealVpp();
const has_packets = found.usable;
const vpp: LabClusterOptions['vpp'] = found.usable ? found : { stand_in: { real_devices: true } };
const no_netns = canUseNetns();
const either = needs(no_netns);

const settle_ms = 20_000 * patience;
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

t.test('a service under traffic: created, changed, deleted; the program and VPP die', either(), async (t) => {
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

  t.test('bad input is answered on its object, and disturbs nothing else', async (t) => {
    const own = (
      name: string,
      at: number,
      more: Json = {},
      annotations: Readonly<Record<string, string>> = {},
    ) =>
      kubernetesService({
        name,
        spec: {
          clusterIP: `10.96.2.${at}`,
          clusterIPs: [`10.96.2.${at}`],
          ports: [{ port: 80 }],
          ...more,
        },
        annotations,
      });
    const ends = (...addresses: readonly string[]): readonly LabEndpoint[] =>
      addresses.map((address) => ({ address, node: 'n2' }));
    const incarnation = async (): Promise<number> =>
      JSON.parse(await one.debug('/debug/actor/root/services')).incarnation;
    const before = await incarnation();
    await server.put(own('good', 1), ...slices('good', [near]));

    await server.put(own('large', 2));
    for (let part = 0; part < 100; part += 1) {
      const some = Array.from({ length: 100 }, (_, at) => `10.77.${part}.${at + 1}`);
      await server.put(endpointSlice('large', ends(...some), [{ port }], `part${part}`));
    }
    await server.put(
      own('twice', 3),
      endpointSlice('twice', ends('10.78.0.1', '10.78.0.1', '10.78.0.2'), [{ port }], 'a'),
      endpointSlice('twice', ends('10.78.0.2', '10.78.0.1'), [{ port }], 'b'),
      own('zero', 4, {
        ports: [
          { name: 'none', port: 0 },
          { name: 'web', port: 80 },
        ],
      }),
      endpointSlice('zero', ends('10.78.1.1'), [
        { name: 'none', port: 0 },
        { name: 'web', port },
      ]),
      own('odd', 5, { clusterIP: '10.96.2.256', clusterIPs: ['10.96.2.256'] }),
      endpointSlice('odd', ends('10.78.2.1'), [{ port }]),
      own('strange', 6),
      endpointSlice('strange', ends('10.78.3.1', '10.78.3.999', '::1', '127.0.0.1'), [{ port }]),
      own('early', 7),
      endpointSlice('early', ends('10.78.4.1'), [{ port }]),
      own('late', 7),
      endpointSlice('late', ends('10.78.4.2'), [{ port }]),
      endpointSlice('nobody', ends('10.78.5.1'), [{ port }]),
      own(
        'absurd',
        8,
        {},
        {
          'cni.projectcalico.org/vppLBType': 'dice',
          'cni.projectcalico.org/vppHashConfig': 'x'.repeat(20_000),
        },
      ),
      endpointSlice('absurd', ends('10.78.6.1'), [{ port }]),
    );
    for (let n = 0; n < 500; n += 1)
      await server.put(endpointSlice('twice', ends('10.78.0.1', `10.78.0.${2 + (n % 2)}`), [{ port }], 'a'));

    const at = (n: number): string => `tcp 10.96.2.${n} 80`;
    const deadline = performance.now() + settle_ms;
    let services: Services = {};
    while (performance.now() < deadline) {
      services = await one.services();
      const is_whole = services[at(2)]?.split(', ').length === 8192;
      if (is_whole && services[at(8)] !== undefined && services[at(3)]?.includes('10.78.0.3')) break;
      await sleep(100);
    }
    t.match(services, {
      [at(1)]: `${near.ip4} ${port}`,
      [at(3)]: `10.78.0.1 ${port}, 10.78.0.2 ${port}, 10.78.0.3 ${port}`,
      [at(4)]: `10.78.1.1 ${port}`,
      [at(6)]: `10.78.3.1 ${port}`,
      [at(7)]: `10.78.4.1 ${port}`,
      [at(8)]: `10.78.6.1 ${port}`,
    });
    t.equal(services[at(2)]?.split(', ').length, 8192, 'as many as VPP takes');
    t.notOk(Object.keys(services).some((key) => key.includes('10.96.2.5')));
    const shown = async (name: string) => {
      const body = await one.debug(`/debug/services?service=default/${name}`);
      t.ok(body.length < 100_000, `${name}: the answer is bounded`);
      return JSON.parse(body);
    };
    t.match(await shown('large'), {
      services: {
        'default/large': {
          plan: { faults: [/has 10000 endpoints, and VPP takes 8192 .*: 1808 get no new flows/] },
        },
      },
    });
    t.match(await shown('late'), {
      services: { 'default/late': { vips: [{ state: 'lost: Service default/early has it' }] } },
    });
    t.match(await shown('early'), { services: { 'default/early': { vips: [{ state: 'programmed' }] } } });
    for (const [name, object, fault] of [
      ['zero', 'Service default/zero', /ports\[0\].port/],
      ['odd', 'Service default/odd', /clusterIPs/],
      ['absurd', 'Service default/absurd', /vppLBType.*dice/],
      ['strange', 'EndpointSlice default/strange-ipv4', /10.78.3.999/],
    ] as const)
      t.match((await shown(name)).objects?.[object]?.join(' '), fault, name);
    t.match(await shown('nobody'), { services: { 'default/nobody': { vips: [] } } });
    t.equal(await incarnation(), before, 'nobody was started anew');
    t.ok((await one.status())?.ready);
    if (has_packets) {
      const { receipt } = await traffic.connect(client.name, '10.96.2.1', 80);
      t.equal(receipt?.at, near.ip4, 'the good one is served');
    }
  });
});
