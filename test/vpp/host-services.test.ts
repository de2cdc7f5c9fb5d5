/**
 * What the host of a node reaches of services, and what load balancers ask of it, on real VPPs: back ends that are processes of the host, own
 * node ports, and health ports from outside, before and after the deaths of VPP and of the program.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Json } from '../../lab/k8s/store.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { type NodeSite, router } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { missing } from '../../lab/programs.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import { needs } from '../kit/needs.js';

const found = findRealVpp();
const reason = found.usable ? (canUseNetns() ?? missing('nft')) : found.why;
const real = needs(reason);

type Node = RunningNode<NodeSite>;
const families = ['ip4', 'ip6'] as const;
const protocols = ['tcp', 'udp'] as const;
const port = 8080;
const node_port = 30080;
const health_port = 30999;
/** Of the service whose back end is the host itself, and of the one whose back end is a pod. */
const vips = {
  own: { ip4: '10.96.0.1', ip6: 'fd96::1' },
  pod: { ip4: '10.96.0.2', ip6: 'fd96::2' },
} as const;

const ports = protocols.map((protocol) => ({
  name: protocol,
  protocol: protocol.toUpperCase(),
  port: 80,
  targetPort: port,
  nodePort: node_port,
}));

function service(name: keyof typeof vips, spec: Json): Json {
  const { ip4, ip6 } = vips[name];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: { clusterIP: ip4, clusterIPs: [ip4, ip6], ipFamilies: ['IPv4', 'IPv6'], ports, ...spec },
  };
}

function slice(
  name: keyof typeof vips,
  family: 'ip4' | 'ip6',
  addresses: readonly string[],
  node: string,
): Json {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: `${name}-${family}`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family === 'ip4' ? 'IPv4' : 'IPv6',
    endpoints: addresses.map((address) => ({
      addresses: [address],
      nodeName: node,
      conditions: { ready: true },
    })),
    ports: protocols.map((protocol) => ({ name: protocol, protocol: protocol.toUpperCase(), port })),
  };
}

/** Waits until it holds; answers what it says otherwise. */
async function until(
  holds: () => Promise<unknown> | unknown,
  deadline_ms = 30_000 * patience,
): Promise<unknown> {
  const deadline = performance.now() + deadline_ms;
  for (;;) {
    const otherwise = await holds();
    if (otherwise === undefined || performance.now() > deadline) return otherwise;
    await sleep(100);
  }
}

t.test('a host and its services', real(), async (t) => {
  if (!found.usable) throw new Error(found.why);
  const cluster = await LabCluster.start({
    vpp: found,
    subnets: [0],
    environment: { SERVICE_PREFIX: '10.96.0.0/16,fd96::/112' },
  });
  t.teardown(() => cluster.close());
  const { server, traffic } = cluster;
  const node = cluster.running[0] as Node;
  const site = node.topology;
  const pod = site.pods[0]!;
  const { lab } = site;
  const table = () => lab.run(site.name, 'nft', 'list', 'tables').trim();
  const has_table = () => (table().includes('calico_vpp_services') ? undefined : `tables: ${table()}`);

  await server.put(
    service('own', { type: 'ClusterIP' }),
    service('pod', {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: health_port,
    }),
    ...families.flatMap((family) => [
      slice('own', family, [site.node[family]], site.name),
      slice('pod', family, [pod[family]], site.name),
    ]),
  );
  t.equal(await until(has_table), undefined, 'Linux has its table');

  const reaches = async (when: string) => {
    for (const family of families) {
      const own = site.node[family];
      for (const [to, address, at] of [
        [site.name, vips.own[family], 80],
        [pod.name, vips.pod[family], 80],
        [pod.name, own, node_port],
      ] as const) {
        const named = `${when}: the host to ${address} port ${at}`;
        const tcp = await traffic.tcp(site.name, to, address, {
          port: at,
          listen_port: port,
          bytes: 100_000,
        });
        t.match(tcp, { whole: true, receipt: { peer: own } }, `${named}, TCP`);
        const udp = await traffic.udp(site.name, to, address, { port: at, listen_port: port });
        t.strictSame(udp, { answered: 5, seen_as: [own], answered_by: [to] }, `${named}, UDP`);
      }
    }
  };
  await reaches('at first');

  /** As a load balancer asks, from outside, through VPP. */
  const asked = (url: string): unknown => {
    const script =
      'fetch(process.argv[1]).then(async (r) => console.log(JSON.stringify([r.status, r.headers.get("x-load-balancing-endpoint-weight"), await r.json()])), (e) => console.log(JSON.stringify([String(e.cause ?? e)])))';
    return JSON.parse(lab.run(router, process.execPath, '-e', script, url));
  };
  const inUrl = (address: string) => (address.includes(':') ? `[${address}]` : address);
  for (const family of families) {
    const at = `http://${inUrl(site.node[family])}`;
    t.match(
      asked(`${at}:${health_port}/`),
      [
        200,
        '1',
        { service: { namespace: 'default', name: 'pod' }, localEndpoints: 1, serviceProxyHealthy: true },
      ],
      `${family}: the service has an endpoint here`,
    );
    t.match(asked(`${at}:10256/healthz`), [200, null, { nodeEligible: true }], `${family}: the node serves`);
    t.match(asked(`${at}:10256/livez`), [200]);
  }
  await server.put(...families.map((family) => slice('pod', family, [], site.name)));
  const weight = () => {
    const [status] = asked(`http://${site.node.ip4}:${health_port}/`) as [number];
    return status === 503 ? undefined : status;
  };
  t.equal(await until(weight), undefined, 'without an endpoint here: 503');
  await server.put(...families.map((family) => slice('pod', family, [pod[family]], site.name)));

  // VPP dies: its undo removes the table, and it comes back with the next VPP.
  const before = node.vppPid()!;
  process.kill(before, 'SIGKILL');
  await node.untilOtherVpp(before, 60_000);
  await node.untilReady(60_000);
  t.equal(await until(has_table), undefined, 'the next VPP, and the table');
  await reaches('after the death of VPP');

  // The program is killed: VPP goes on, and so does Linux.
  await node.kill('SIGKILL');
  t.equal(has_table(), undefined);
  const tcp = await traffic.tcp(site.name, site.name, vips.own.ip4, {
    port: 80,
    listen_port: port,
    bytes: 1000,
  });
  t.ok(tcp.whole, 'the host reaches its service without the program');
  node.launch();
  await node.untilReady(60_000);
  await reaches('after the death of the program');

  t.match(await node.stop(), { code: 0 });
  t.equal(table(), '', 'after the end there is no table');
});
