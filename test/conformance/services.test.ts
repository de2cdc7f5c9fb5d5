/**
 * The cases of Kubernetes' own end-to-end suite for services that need no second cluster and no kubelet, on real VPPs. What comes of each is in
 * docs/services-conformance.md, which this compares, and SERVICES_RECORD=1 writes anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { endpointSlice, kubernetesService, type LabEndpoint } from '../../lab/k8s/calico-objects.js';
import type { Json } from '../../lab/k8s/store.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { router } from '../../lab/nodes.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { Pod } from '../../lab/topology.js';

const table_file = fileURLToPath(new URL('../../../docs/services-conformance.md', import.meta.url));
const recording = process.env.SERVICES_RECORD === '1';

const ports = [5001, 5002] as const;
const patience_ms = 4000;

type Protocol = 'TCP' | 'UDP';
/** `p`: a pod by its name; else `n1`, `n2`, or the router, which is outside. */
type From = string;

interface EndpointOf {
  readonly pod: Pod;
  readonly conditions?: Json;
}

class Lab {
  #last = 20;
  readonly #made = new Map<string, Json>();
  readonly pods: readonly Pod[];
  readonly #nodes: ReadonlyMap<string, string>;

  constructor(readonly cluster: LabCluster) {
    this.pods = cluster.running.flatMap(({ topology }) => topology.pods);
    this.#nodes = new Map(cluster.running.map(({ topology }) => [topology.name, topology.node.ip4]));
  }

  address(): string {
    this.#last += 1;
    return `10.96.0.${this.#last}`;
  }

  nodeAddress(name: string): string {
    return this.#nodes.get(name)!;
  }

  async service(
    name: string,
    spec: Json,
    more: { annotations?: Record<string, string>; status?: Json; labels?: Json } = {},
  ) {
    const { labels, ...rest } = more;
    const object = kubernetesService({ name, spec, ...rest });
    const labelled =
      labels === undefined ? object : { ...object, metadata: { ...(object.metadata as Json), labels } };
    this.#made.set(`Service ${name}`, labelled);
    await this.cluster.server.put(labelled);
  }

  async endpoints(
    name: string,
    endpoints: readonly EndpointOf[],
    slice_ports: readonly { name?: string; port: number; protocol?: string }[] = [{ port: ports[0] }],
    family: 'ip4' | 'ip6' = 'ip4',
  ): Promise<void> {
    const all = endpoints.map(
      ({ pod, conditions }): LabEndpoint => ({
        address: pod[family],
        node: pod.name.slice(0, 2),
        ...(conditions !== undefined && { conditions }),
      }),
    );
    const slice = endpointSlice(name, all, slice_ports, family);
    this.#made.set(`EndpointSlice ${name} ${family}`, slice);
    await this.cluster.server.put(slice);
  }

  async clear(): Promise<void> {
    await this.cluster.server.remove(...this.#made.values());
    this.#made.clear();
  }

  async removeService(name: string): Promise<void> {
    const key = `Service ${name}`;
    await this.cluster.server.remove(this.#made.get(key)!);
    this.#made.delete(key);
  }

  /** Who answers: pods by name, or the error. */
  async who(
    from: From,
    address: string,
    port: number,
    protocol: Protocol = 'TCP',
    count = 8,
  ): Promise<readonly string[]> {
    const { traffic } = this.cluster;
    const seen = new Set<string>();
    for (let n = 0; n < count; n += 1) {
      if (protocol === 'UDP') {
        const { answered_by } = await traffic.ask(from, address, port, { count: 1, wait_ms: 300 });
        seen.add(answered_by[0] ?? 'nobody');
        if (answered_by.length === 0) break;
        continue;
      }
      const { receipt, error = '' } = await traffic.connect(from, address, port, { deadline_ms: 500 });
      seen.add(receipt === undefined ? error.split(' ').slice(0, 2).join(' ') : this.#nameOf(receipt.at));
      if (receipt === undefined) break;
    }
    return [...seen].sort();
  }

  /** As whom the server sees the client. */
  async seenAs(from: From, address: string, port: number): Promise<string> {
    const { receipt, error } = await this.cluster.traffic.connect(from, address, port, { deadline_ms: 1000 });
    return receipt?.peer ?? `${error}`;
  }

  #nameOf(address: string): string {
    return this.pods.find(({ ip4, ip6 }) => ip4 === address || ip6 === address)?.name ?? address;
  }

  /** Throws what it is otherwise after some seconds. */
  async is(what: string, look: () => Promise<readonly string[]>, expected: readonly string[]): Promise<void> {
    const deadline = performance.now() + patience_ms;
    const wanted = [...expected].sort().join(' ');
    for (;;) {
      const seen = (await look()).join(' ');
      if (seen === wanted) return;
      if (performance.now() > deadline) throw new Error(`${what}: ${seen || 'nobody'} in place of ${wanted}`);
      await sleep(100);
    }
  }

  reaches(
    what: string,
    from: From,
    address: string,
    port: number,
    expected: readonly Pod[],
    protocol: Protocol = 'TCP',
  ) {
    const names = expected.map(({ name }) => name);
    return this.is(what, () => this.who(from, address, port, protocol, 6 * Math.max(1, names.length)), names);
  }

  /** Nobody answers, and the client hears of it or not. */
  async fails(what: string, from: From, address: string, port: number): Promise<void> {
    const deadline = performance.now() + patience_ms;
    for (;;) {
      const { receipt } = await this.cluster.traffic.connect(from, address, port, { deadline_ms: 700 });
      if (receipt === undefined) return;
      if (performance.now() > deadline) throw new Error(`${what}: ${this.#nameOf(receipt.at)} answers`);
    }
  }
}

interface Case {
  /** As the suite names it, shortened. */
  readonly name: string;
  /** Part of what a conformant cluster passes. */
  readonly conformance?: true;
  /** What is known to be in the way. */
  readonly known?: string;
  run(lab: Lab, pods: readonly [Pod, Pod, Pod, Pod]): Promise<void>;
}

const cases: readonly Case[] = [
  {
    name: 'Services should serve a basic endpoint from pods',
    conformance: true,
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('basic', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.fails('no pods yet', a.name, vip, 80);
      await lab.endpoints('basic', [{ pod: b }]);
      await lab.reaches('one', a.name, vip, 80, [b]);
      await lab.endpoints('basic', [{ pod: b }, { pod: c }]);
      await lab.reaches('two', a.name, vip, 80, [b, c]);
      await lab.endpoints('basic', [{ pod: c }]);
      await lab.reaches('the other', a.name, vip, 80, [c]);
      await lab.endpoints('basic', []);
      await lab.fails('none again', a.name, vip, 80);
    },
  },
  {
    name: 'Services should serve multiport endpoints from pods',
    conformance: true,
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('multi', {
        clusterIP: vip,
        ports: [
          { name: 'one', port: 80, targetPort: 'x' },
          { name: 'two', port: 81, targetPort: 'y' },
        ],
      });
      await lab.endpoints('multi', [{ pod: b }], [{ name: 'one', port: ports[0] }]);
      await lab.endpoints('multi', [{ pod: c }], [{ name: 'two', port: ports[1] }], 'ip4');
      await lab.reaches('the second port', a.name, vip, 81, [c]);
      await lab.endpoints(
        'multi',
        [{ pod: b }],
        [
          { name: 'one', port: ports[0] },
          { name: 'two', port: ports[1] },
        ],
      );
      await lab.reaches('port by name', a.name, vip, 80, [b]);
      await lab.reaches('port by name', a.name, vip, 81, [b]);
    },
  },
  {
    name: 'Services should serve endpoints on same port and different protocols',
    conformance: true,
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('both', {
        clusterIP: vip,
        ports: [
          { name: 't', port: 80 },
          { name: 'u', port: 80, protocol: 'UDP' },
        ],
      });
      await lab.endpoints(
        'both',
        [{ pod: b }],
        [
          { name: 't', port: ports[0] },
          { name: 'u', port: ports[1], protocol: 'UDP' },
        ],
      );
      await lab.reaches('TCP', a.name, vip, 80, [b]);
      await lab.reaches('UDP', a.name, vip, 80, [b], 'UDP');
      await lab.endpoints('both', [{ pod: c }], [{ name: 'u', port: ports[1], protocol: 'UDP' }]);
      await lab.reaches('UDP alone', a.name, vip, 80, [c], 'UDP');
      await lab.fails('TCP', a.name, vip, 80);
    },
  },
  {
    name: 'Services should be able to create a functioning NodePort service',
    conformance: true,
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('nodeport', {
        type: 'NodePort',
        clusterIP: vip,
        ports: [{ port: 80, nodePort: 30101 }],
      });
      await lab.endpoints('nodeport', [{ pod: b }, { pod: c }]);
      await lab.reaches('cluster address', a.name, vip, 80, [b, c]);
      for (const node of ['n1', 'n2'])
        await lab.reaches(`a pod by ${node}`, a.name, lab.nodeAddress(node), 30101, [b, c]);
      await lab.reaches('another node', 'n2', lab.nodeAddress('n1'), 30101, [b, c]);
      await lab.reaches('from outside', router, lab.nodeAddress('n1'), 30101, [b, c]);
    },
  },
  {
    name: 'Services should be able to change the type from ExternalName to ClusterIP, and to NodePort, and back',
    conformance: true,
    async run(lab, [a, b]) {
      const vip = lab.address();
      await lab.endpoints('changes', [{ pod: b }]);
      await lab.service('changes', { type: 'ExternalName', externalName: 'example.com' });
      await lab.fails('a name', a.name, vip, 80);
      await lab.service('changes', { type: 'ClusterIP', clusterIP: vip, ports: [{ port: 80 }] });
      await lab.reaches('ClusterIP', a.name, vip, 80, [b]);
      await lab.service('changes', {
        type: 'NodePort',
        clusterIP: vip,
        ports: [{ port: 80, nodePort: 30102 }],
      });
      await lab.reaches('NodePort', a.name, lab.nodeAddress('n1'), 30102, [b]);
      await lab.service('changes', { type: 'ExternalName', externalName: 'example.com' });
      await lab.fails('a name again', a.name, vip, 80);
    },
  },
  {
    name: 'Services should have session affinity work for service with type clusterIP, and be able to switch it',
    conformance: true,
    async run(lab, [a, b, c, d]) {
      const vip = lab.address();
      const spec = { clusterIP: vip, ports: [{ port: 80 }] };
      await lab.endpoints('affinity', [{ pod: b }, { pod: c }, { pod: d }]);
      await lab.service('affinity', { ...spec, sessionAffinity: 'ClientIP' });
      await lab.is('one alone', async () => [`${(await lab.who(a.name, vip, 80, 'TCP', 15)).length}`], ['1']);
      await lab.service('affinity', { ...spec, sessionAffinity: 'None' });
      await lab.reaches('all', a.name, vip, 80, [b, c, d]);
      await lab.service('affinity', { ...spec, sessionAffinity: 'ClientIP' });
      await lab.is('one alone again', async () => [`${(await lab.who(a.name, vip, 80, 'TCP', 15)).length}`], [
        '1',
      ]);
    },
  },
  {
    name: 'Services should have session affinity work for NodePort service',
    conformance: true,
    async run(lab, [a, b, c, d]) {
      const vip = lab.address();
      await lab.endpoints('affine', [{ pod: b }, { pod: c }, { pod: d }]);
      await lab.service('affine', {
        type: 'NodePort',
        clusterIP: vip,
        sessionAffinity: 'ClientIP',
        ports: [{ port: 80, nodePort: 30103 }],
      });
      const seen = async () => lab.who(a.name, lab.nodeAddress('n1'), 30103, 'TCP', 15);
      await lab.is(
        'one alone',
        async () => [
          `${(await seen()).filter((name) => /^n\dp/.test(name)).length} ${(await seen()).length}`,
        ],
        ['1 1'],
      );
    },
  },
  {
    name: 'Granular Checks: Services should function for pod-Service: udp',
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('udp', { clusterIP: vip, ports: [{ port: 53, protocol: 'UDP' }] });
      await lab.endpoints('udp', [{ pod: b }, { pod: c }], [{ port: ports[0], protocol: 'UDP' }]);
      await lab.reaches('both', a.name, vip, 53, [b, c], 'UDP');
    },
  },
  {
    name: 'Granular Checks: Services should function for node-Service: http',
    async run(lab, [, b, c]) {
      const vip = lab.address();
      await lab.service('host', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.endpoints('host', [{ pod: b }, { pod: c }]);
      await lab.reaches('from a node', 'n1', vip, 80, [b, c]);
    },
  },
  {
    name: 'Granular Checks: Services should function for node-Service by the own NodePort',
    async run(lab, [, b, c]) {
      const vip = lab.address();
      await lab.service('ownport', {
        type: 'NodePort',
        clusterIP: vip,
        ports: [{ port: 80, nodePort: 30104 }],
      });
      await lab.endpoints('ownport', [{ pod: b }, { pod: c }]);
      await lab.reaches('from the node itself', 'n1', lab.nodeAddress('n1'), 30104, [b, c]);
    },
  },
  {
    name: 'Granular Checks: Services should function for endpoint-Service (hairpin)',
    async run(lab, [a]) {
      const vip = lab.address();
      await lab.service('hairpin', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.endpoints('hairpin', [{ pod: a }]);
      await lab.reaches('itself', a.name, vip, 80, [a]);
    },
  },
  {
    name: 'Granular Checks: Services should update nodePort: http',
    async run(lab, [a, b]) {
      const vip = lab.address();
      const spec = { type: 'NodePort', clusterIP: vip };
      await lab.endpoints('moves', [{ pod: b }]);
      await lab.service('moves', { ...spec, ports: [{ port: 80, nodePort: 30105 }] });
      await lab.reaches('the first', a.name, lab.nodeAddress('n1'), 30105, [b]);
      await lab.service('moves', { ...spec, ports: [{ port: 80, nodePort: 30106 }] });
      await lab.reaches('the next', a.name, lab.nodeAddress('n1'), 30106, [b]);
      await lab.fails('the first', a.name, lab.nodeAddress('n1'), 30105);
    },
  },
  {
    name: 'Services should be rejected when no endpoints exist',
    known: 'the connection fails at once, by EHOSTUNREACH in place of ECONNREFUSED',
    async run(lab, [a]) {
      const vip = lab.address();
      await lab.service('empty', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.is('refused', () => lab.who(a.name, vip, 80, 'TCP', 1), ['connect ECONNREFUSED']);
    },
  },
  {
    name: 'Services should fail at once when no endpoints exist, whatever the error',
    async run(lab, [a]) {
      const vip = lab.address();
      await lab.service('nobody', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.is('an error', async () => {
        const { error = 'none', ms } = await lab.cluster.traffic.connect(a.name, vip, 80, {
          deadline_ms: 3000,
        });
        return [`${/^connect E/.test(error)} ${ms < 1500}`];
      }, ['true true']);
    },
  },
  {
    name: 'Services should be able to up and down services',
    async run(lab, [a, b, c]) {
      const [one, two] = [lab.address(), lab.address()];
      for (const [name, vip, pod] of [
        ['up1', one, b],
        ['up2', two, c],
      ] as const) {
        await lab.service(name, { clusterIP: vip, ports: [{ port: 80 }] });
        await lab.endpoints(name, [{ pod }]);
      }
      await lab.reaches('one', a.name, one, 80, [b]);
      await lab.reaches('two', a.name, two, 80, [c]);
      await lab.removeService('up1');
      await lab.fails('down', a.name, one, 80);
      await lab.reaches('two stays', a.name, two, 80, [c]);
    },
  },
  {
    name: 'Services should implement service.kubernetes.io/service-proxy-name',
    async run(lab, [a, b]) {
      const vip = lab.address();
      const spec = { clusterIP: vip, ports: [{ port: 80 }] };
      await lab.endpoints('others', [{ pod: b }]);
      await lab.service('others', spec);
      await lab.reaches('ours', a.name, vip, 80, [b]);
      await lab.service('others', spec, { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } });
      await lab.fails('theirs', a.name, vip, 80);
      await lab.service('others', spec);
      await lab.reaches('ours again', a.name, vip, 80, [b]);
    },
  },
  {
    name: 'Services should not be able to connect to unready and terminating endpoints, and to those published not ready they should',
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('unready', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.endpoints('unready', [{ pod: b, conditions: { ready: false } }, { pod: c }]);
      await lab.reaches('the ready one', a.name, vip, 80, [c]);
      await lab.endpoints('unready', [{ pod: b, conditions: { ready: true, serving: false } }]);
      await lab.reaches('published', a.name, vip, 80, [b]);
      await lab.endpoints('unready', [
        { pod: b, conditions: { ready: false, serving: false, terminating: true } },
      ]);
      await lab.fails('one that has ended', a.name, vip, 80);
    },
  },
  {
    name: 'Services should fall back to terminating endpoints when there are no ready endpoints',
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      const ending = { ready: false, serving: true, terminating: true };
      await lab.service('ending', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.endpoints('ending', [
        { pod: b, conditions: ending },
        { pod: c, conditions: ending },
      ]);
      await lab.reaches('both', a.name, vip, 80, [b, c]);
      await lab.endpoints('ending', [{ pod: b, conditions: ending }, { pod: c }]);
      await lab.reaches('the ready one', a.name, vip, 80, [c]);
    },
  },
  {
    name: 'Services should respect internalTrafficPolicy=Local Pod to Pod',
    async run(lab, [a, b, c, d]) {
      const vip = lab.address();
      await lab.service('inner', { clusterIP: vip, internalTrafficPolicy: 'Local', ports: [{ port: 80 }] });
      await lab.endpoints('inner', [{ pod: b }, { pod: c }]);
      await lab.reaches('on one node', a.name, vip, 80, [b]);
      await lab.reaches('on the other', d.name, vip, 80, [c]);
      await lab.endpoints('inner', [{ pod: c }]);
      await lab.fails('none on this node', a.name, vip, 80);
    },
  },
  {
    name: 'Services should preserve source pod IP for traffic thru service cluster IP',
    async run(lab, [a, , c]) {
      const vip = lab.address();
      await lab.service('source', { clusterIP: vip, ports: [{ port: 80 }] });
      await lab.endpoints('source', [{ pod: c }]);
      await lab.is('its own address', async () => [await lab.seenAs(a.name, vip, 80)], [a.ip4]);
    },
  },
  {
    name: 'Services should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node',
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      await lab.service('outer', { clusterIP: vip, externalIPs: ['203.0.113.7'], ports: [{ port: 80 }] });
      await lab.endpoints('outer', [{ pod: b }, { pod: c }]);
      await lab.reaches('from a pod', a.name, '203.0.113.7', 80, [b, c]);
    },
  },
  {
    name: 'Services with externalTrafficPolicy=Local on a NodePort keep the source address, and drop where there is no endpoint',
    async run(lab, [, b]) {
      const vip = lab.address();
      await lab.service('outerlocal', {
        type: 'NodePort',
        clusterIP: vip,
        externalTrafficPolicy: 'Local',
        ports: [{ port: 80, nodePort: 30107 }],
      });
      await lab.endpoints('outerlocal', [{ pod: b }]);
      await lab.is('source', async () => [await lab.seenAs(router, lab.nodeAddress('n1'), 30107)], [
        '10.0.0.1',
      ]);
      await lab.fails('the other node', router, lab.nodeAddress('n2'), 30107);
    },
  },
  {
    name: 'LoadBalancers: an address with ipMode VIP is served here, one with ipMode Proxy is not',
    async run(lab, [a, b]) {
      const spec = { type: 'LoadBalancer', clusterIP: lab.address(), ports: [{ port: 80 }] };
      await lab.endpoints('balanced', [{ pod: b }]);
      await lab.service('balanced', spec, {
        status: { loadBalancer: { ingress: [{ ip: '203.0.113.8', ipMode: 'VIP' }] } },
      });
      await lab.reaches('VIP', a.name, '203.0.113.8', 80, [b]);
      await lab.service('balanced', spec, {
        status: { loadBalancer: { ingress: [{ ip: '203.0.113.8', ipMode: 'Proxy' }] } },
      });
      await lab.fails('Proxy', a.name, '203.0.113.8', 80);
    },
  },
  {
    name: 'Conntrack should be able to preserve UDP traffic when server pod cycles for a ClusterIP service',
    async run(lab, [a, b, c]) {
      const vip = lab.address();
      const udp = [{ port: ports[0], protocol: 'UDP' }];
      await lab.service('cycles', { clusterIP: vip, ports: [{ port: 53, protocol: 'UDP' }] });
      await lab.endpoints('cycles', [{ pod: b }], udp);
      await lab.reaches('the first', a.name, vip, 53, [b], 'UDP');
      const flow = (count: number) =>
        lab.cluster.traffic.ask(a.name, vip, 53, { count, wait_ms: 200, source_port: 12_345 });
      await lab.is('in one flow', async () => (await flow(2)).answered_by, [b.name]);
      await lab.endpoints('cycles', [{ pod: c }], udp);
      await lab.is('the same flow', async () => (await flow(2)).answered_by, [c.name]);
    },
  },
  {
    name: 'Conntrack should be able to preserve UDP traffic when initial unready endpoints get ready',
    async run(lab, [a, b]) {
      const vip = lab.address();
      const udp = [{ port: ports[0], protocol: 'UDP' }];
      await lab.service('late', { clusterIP: vip, ports: [{ port: 53, protocol: 'UDP' }] });
      await lab.endpoints('late', [{ pod: b, conditions: { ready: false } }], udp);
      await sleep(500);
      const flow = () =>
        lab.cluster.traffic.ask(a.name, vip, 53, { count: 3, wait_ms: 200, source_port: 12_346 });
      await lab.is('nobody yet', async () => [`${(await flow()).answered}`], ['0']);
      await lab.endpoints('late', [{ pod: b }], udp);
      await lab.is('the same flow', async () => (await flow()).answered_by, [b.name]);
    },
  },
];

/** Of the suite, and not run here: why. */
const not_run: Readonly<Record<string, string>> = {
  'Granular Checks: Services should function for … sctp':
    'a network namespace has no SCTP tools here; see services.md for what VPP does with it',
  'Granular Checks: Services should support large requests: udp':
    'VPP loses fragments of datagrams to services (services.md)',
  'Services should have session affinity timeout work':
    'nothing remembers clients: affinity has no end (services.md)',
  'Services should implement … HostPort no conflict':
    'pods need a kubelet; a unit test of the actor has both',
  'Services … healthCheckNodePort': 'tests of the listeners have it',
};

const vpp = findRealVpp();
const skip = vpp.usable ? canUseNetns() : vpp.why;

t.test('services as Kubernetes tests them', skip === undefined ? {} : { skip }, async (t) => {
  if (!vpp.usable) return;
  const cluster = await LabCluster.start({
    vpp,
    pods: 2,
    environment: { SERVICE_PREFIX: '10.96.0.0/16,fd96::/112' },
  });
  t.teardown(() => cluster.close());
  const lab = new Lab(cluster);
  for (const { topology } of cluster.running) cluster.nodes.teachRouter(topology);
  for (const { name } of lab.pods) for (const port of ports) await cluster.traffic.serve(name, port);
  const [a, b, c, d] = lab.pods as [Pod, Pod, Pod, Pod];
  const rows: string[] = [];
  for (const each of cases) {
    let fault: string | undefined;
    try {
      await each.run(lab, [a, b, c, d]);
    } catch (error) {
      fault = (error as Error).message;
    }
    await lab.clear();
    if (each.known === undefined) t.equal(fault, undefined, each.name);
    else t.ok(fault, `${each.name}: what is known to be in the way is not any more: ${each.known}`);
    if (fault !== undefined) t.comment(`${each.name}: ${fault}`);
    const result = fault === undefined ? 'passes' : `does not pass: ${each.known ?? fault}`;
    rows.push(`| ${each.name} | ${each.conformance ? 'conformance' : ''} | ${result} |`);
  }
  for (const [name, why] of Object.entries(not_run)) rows.push(`| ${name} | | not run: ${why} |`);
  const text = `# Kubernetes' cases for services

What comes of the cases of Kubernetes' end-to-end suite for services that need no second cluster, on two nodes with real VPPs in network
namespaces. \`test/conformance/services.test.ts\` runs them, holds this table against them, and writes it with \`SERVICES_RECORD=1\`.

| case | | result |
|---|---|---|
${rows.join('\n')}
`;
  if (recording) writeFileSync(table_file, text);
  else t.equal(readFileSync(table_file, 'utf8'), text, 'docs/services-conformance.md says so');
});
