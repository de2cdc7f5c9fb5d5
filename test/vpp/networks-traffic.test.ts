/** What holds within networks beside the default one: policies, services, memifs; and networks that change under their pods. Real VPPs on two nodes, packets. */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { endpointSlice, kubernetesService, network } from '../../lab/k8s/calico-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { MemifClient } from '../../lab/memif-client.js';
import { canUseNetns } from '../../lab/netns.js';
import type { NodeSite } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, waitFor } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import { needs } from '../kit/needs.js';
import { type Payload, policyId, policyRef, Voice } from './felix-voice.js';

const found = findRealVpp();
const skip = found.usable ? canUseNetns() : found.why;
const real = needs(skip);

type Node = RunningNode<NodeSite>;
type Name = 'red' | 'blue';

const settle_ms = 40_000 * patience;
const vnis = { red: 4097, blue: 4098 } as const;
const range = '10.77.0.0/16';
const annotation = 'extensions.projectcalico.org/network';
/** Of the red pod, and of the blue one: the same. */
const near = '10.77.1.5';
const far = '10.77.2.5';
/** Of another pod of the red network. */
const near_other = '10.77.1.6';
const at_memif = { ip4: '10.77.2.9', ip6: 'fd77::9' };
const ports = [80, 8080, 8081, 8082] as const;
const vip = '10.96.0.77';
const on = '{"multinetEnabled": true, "memifEnabled": true}';

const networkObject = (name: Name, spec: object = {}) => network(name, { vni: vnis[name], range, ...spec });

const protocol = (name: 'TCP' | 'UDP') => ({ numberOrName: { case: 'name' as const, value: name } });

/** A rule for TCP and for UDP to this port, for the default network or another. */
function lets(port: number, name?: Name, more: object = {}) {
  return (['TCP', 'UDP'] as const).map((of) => ({
    action: 'Allow',
    protocol: protocol(of),
    dstPorts: [{ first: port, last: port }],
    ...(name && { metadata: { annotations: { [annotation]: name } } }),
    ...more,
  }));
}

const policy = (name: string, rules: { inboundRules?: object[]; outboundRules?: object[] }): Payload =>
  ({ case: 'activePolicyUpdate', value: { id: policyId(name), policy: rules } }) as Payload;

/** Echo requests within the red network. */
const echoes = {
  action: 'Allow',
  protocol: { numberOrName: { case: 'name' as const, value: 'ICMP' } },
  metadata: { annotations: { [annotation]: 'red' } },
};

/** What each of the networks lets in is something else. */
const web = policy('web', {
  inboundRules: [
    ...lets(80),
    ...lets(8080, 'red', { srcNet: [`${near}/32`] }),
    ...lets(8082, 'red'),
    ...lets(8081, 'blue'),
    echoes,
  ],
});
const out = policy('out', { outboundRules: [{ action: 'Allow' }, ...lets(8080, 'red'), echoes] });

function endpoint({ name, ip4 }: Pod, ingress: readonly string[], egress: readonly string[] = []): Payload {
  return {
    case: 'workloadEndpointUpdate',
    value: {
      id: { orchestratorId: 'k8s', workloadId: `default/${name}`, endpointId: 'eth0' },
      endpoint: {
        state: 'active',
        name: `cali${name}`,
        profileIds: ['kns.default'],
        ipv4Nets: [`${ip4}/32`],
        tiers:
          ingress.length + egress.length === 0
            ? []
            : [
                {
                  name: 'default',
                  ingressPolicies: ingress.map(policyRef),
                  egressPolicies: egress.map(policyRef),
                  defaultAction: 'Deny',
                },
              ],
      },
    },
  };
}

class Lab {
  readonly voices = new Map<Node, Voice>();
  cluster!: LabCluster;
  a!: Node;
  b!: Node;

  async start(test: Test): Promise<this> {
    if (!found.usable) throw new Error(found.why);
    const environment = {
      CALICOVPP_FELIX: 'on',
      CALICOVPP_FEATURE_GATES: on,
      SERVICE_PREFIX: '10.96.0.0/16,fd96::/112',
    };
    const objects = [networkObject('red'), networkObject('blue')];
    this.cluster = await LabCluster.start({ vpp: found, pods: 3, environment, objects });
    test.teardown(async () => {
      for (const voice of this.voices.values()) voice.close();
      await this.cluster.close();
    });
    [this.a, this.b] = this.cluster.running as [Node, Node];
    for (const { topology } of [this.a, this.b])
      await this.cluster.giveBlock(topology, `10.77.${topology.name.slice(1)}.0/26`);
    await this.attach(this.a, 0, 'red', near);
    await this.attach(this.a, 1, 'blue', near);
    await this.attach(this.a, 2, 'red', near_other);
    await this.attach(this.b, 0, 'red', far);
    await this.attach(this.b, 1, 'blue', far);
    for (const pod of this.b.topology.pods.slice(0, 2))
      for (const port of ports) await this.cluster.traffic.serve(pod.name, port);
    return this;
  }

  attach({ topology: { pods } }: Node, at: number, name: Name, address: string, ifname = 'net1') {
    const node = pods === this.a.topology.pods ? this.a : this.b;
    return node.add(pods[at]!, {
      ifname,
      network_name: name,
      ips: [`${address}/24`],
      // Not the default route: the first interface has it.
      routes: [],
    });
  }

  /** A new Felix of each node, which says all that there is. */
  snapshot(...changed: readonly Payload[]): void {
    for (const node of [this.a, this.b]) {
      this.voices.get(node)?.close();
      const voice = new Voice(node.config.paths.felix_socket);
      this.voices.set(node, voice);
      const [red, blue, other] = node.topology.pods as [Pod, Pod, Pod];
      const allow = { inboundRules: [{ action: 'allow' }], outboundRules: [{ action: 'allow' }] };
      voice.say(
        { case: 'configUpdate', value: { config: {} } },
        { case: 'activeProfileUpdate', value: { id: { name: 'kns.default' }, profile: allow } },
        web,
        out,
        ...changed,
      );
      if (node === this.b) voice.say(...[red, blue, other].map((pod) => endpoint(pod, ['web'])));
      else voice.say(endpoint(red, [], ['out']), endpoint(blue, []), endpoint(other, []));
      voice.say({ case: 'inSync', value: {} });
    }
  }

  async reaches(from: Pod, address: string, port: number): Promise<boolean> {
    const { receipt } = await this.cluster.traffic.connect(from.name, address, port, { deadline_ms: 800 });
    return receipt !== undefined;
  }

  /** Who reaches which ports, by each network. */
  async matrix(): Promise<Record<string, readonly number[]>> {
    const [red, blue, other] = this.a.topology.pods as [Pod, Pod, Pod];
    const of = async (from: Pod, address: string): Promise<number[]> => {
      const reached = await Promise.all(ports.map((port) => this.reaches(from, address, port)));
      return ports.filter((_, at) => reached[at]);
    };
    const [by_default, by_red, by_other, by_blue] = await Promise.all([
      of(other, this.b.topology.pods[0]!.ip4),
      of(red, far),
      of(other, far),
      of(blue, far),
    ]);
    return { default: by_default, red: by_red, 'other red': by_other, blue: by_blue };
  }

  async untilMatrix(expected: Record<string, readonly number[]>, said: string): Promise<void> {
    let is: Record<string, readonly number[]> = {};
    await waitFor(
      async () => {
        is = await this.matrix();
        return JSON.stringify(is) === JSON.stringify(expected);
      },
      settle_ms,
      () => `${said}: ${JSON.stringify(is)} in place of ${JSON.stringify(expected)}`,
    );
  }

  /** What VPP has too much or too little, but for what Felix has said. */
  async differences(node: Node): Promise<string[]> {
    return (await node.differences()).filter((text) => !/"kind":"(npol_\w+|default_verdict)"/.test(text));
  }

  /** Waits until VPP has something of these networks, and of no others. */
  async untilNetworks(node: Node, names: readonly Name[]): Promise<void> {
    const wanted = names.map((name) => vnis[name]).join();
    let there = '';
    await waitFor(
      async () => {
        there = [...(await node.networks()).keys()].sort().join();
        return there === wanted;
      },
      settle_ms,
      () => `${node.topology.name}: VPP has ${there} in place of the networks ${wanted}`,
    );
  }

  async untilSaid(node: Node, expected: RegExp): Promise<void> {
    let said = '';
    await waitFor(
      async () => {
        said = await node.debug('/debug/sync');
        return expected.test(said);
      },
      settle_ms,
      () => `${expected} is not in ${said}`,
    );
  }
}

/** Egress of the red pod lets it to one port of its network, which is open to it alone; the other one of that network is open to the others. */
const judged = { default: [80], red: [8080], 'other red': [8082], blue: [8081] };

t.test('within networks', real(), async (t) => {
  const lab = await new Lab().start(t);
  const { cluster, a, b } = lab;
  const { traffic } = cluster;
  const [red, blue, other] = a.topology.pods as [Pod, Pod, Pod];
  const run = (name: string, ...argv: string[]): string => cluster.nodes.lab.run(name, ...argv);

  await t.test('policies: each rule holds in its own network', async (t) => {
    t.notOk(await lab.reaches(red, far, 8080), 'nothing passes before Felix has spoken');
    lab.snapshot();
    await lab.untilMatrix(judged, 'at first');
    const tags = Object.values(
      (JSON.parse(await b.debug('/debug/policies?of=default/n2p1')) as { interfaces: Record<string, object> })
        .interfaces,
    ) as { network?: string }[];
    t.strictSame(tags.map(({ network = '' }) => network).sort(), ['', 'red'], 'which is shown');
    lab.snapshot(policy('web', { inboundRules: [...lets(80), ...lets(8081, 'blue')] }));
    await lab.untilMatrix({ ...judged, red: [], 'other red': [] }, 'a rule of red is gone');
    lab.snapshot(policy('web', { inboundRules: [...lets(8080, 'red'), ...lets(8080, 'green' as Name)] }));
    await lab.untilMatrix({ default: [], red: [8080], 'other red': [8080], blue: [] }, 'only red has rules');
    await lab.untilSaid(
      b,
      /NetworkPolicy default\/web[^,]*has rules for green, of which this node has no network/,
    );
    lab.snapshot();
    await lab.untilMatrix(judged, 'again');
  });

  await t.test('what passes a node in a network is judged by what is for that network', async (t) => {
    const tier = (name: string) => ({
      name: 'default',
      ingressPolicies: [policyRef(name)],
      egressPolicies: [policyRef(name)],
      defaultAction: 'Deny',
    });
    const all = { inboundRules: [{ action: 'Allow' }], outboundRules: [{ action: 'Allow' }] };
    const host: Payload = {
      case: 'hostEndpointUpdate',
      value: {
        id: { endpointId: 'all' },
        endpoint: { name: '*', tiers: [tier('all')], forwardTiers: [tier('passes')] },
      },
    };
    const passes = policy('passes', {
      inboundRules: [...all.inboundRules, ...lets(8080, 'red')],
      outboundRules: [...all.outboundRules, { action: 'Allow', metadata: echoes.metadata }],
    });
    const by_tunnels = { ...judged, 'other red': [], blue: [] };
    lab.snapshot(policy('all', all), passes, host);
    await lab.untilMatrix(by_tunnels, 'of tunnels the red one lets one port in');
    // One that the next process finds may be of a network, and nobody tells that one which there are.
    await cluster.server.does('stop');
    await b.kill('SIGKILL');
    await b.restart();
    lab.snapshot(policy('all', all), passes, host);
    await lab.untilSaid(b, /"policies": \{\s+"waits": ""/);
    t.strictSame(await lab.matrix(), by_tunnels, 'another process, by the tunnels of the one before');
    await cluster.server.does('start');
    await lab.untilNetworks(b, ['red', 'blue']);
    t.strictSame(await lab.matrix(), by_tunnels, 'the API server tells of networks');
    lab.snapshot();
    await lab.untilMatrix(judged, 'without a host endpoint');
  });

  await t.test('policies stay over the death of VPP, and of the process', async () => {
    const pid = b.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await b.untilOtherVpp(pid);
    await b.untilReady();
    await lab.untilMatrix(judged, 'another VPP');
    await b.kill('SIGKILL');
    await lab.untilMatrix(judged, 'no process');
    await b.restart();
    await lab.untilMatrix(judged, 'another process, before Felix');
    lab.snapshot();
    await lab.untilMatrix(judged, 'another process');
  });

  await t.test('a service whose back ends are addresses of a network', async (t) => {
    const service = kubernetesService({
      name: 'red-web',
      annotations: { [annotation]: 'red', 'extensions.projectcalico.org/selector': 'app=web' },
      spec: {
        clusterIP: vip,
        clusterIPs: [vip],
        type: 'ClusterIP',
        ports: [
          { name: 'open', port: 90, protocol: 'TCP' },
          { name: 'ask', port: 90, protocol: 'UDP' },
          { name: 'blue', port: 91, protocol: 'UDP' },
        ],
      },
    });
    // As the multinet monitor writes it.
    const slice = endpointSlice(
      'red-web',
      [{ address: far, node: 'n2' }],
      [
        { name: 'open', port: 8080 },
        { name: 'ask', port: 8080, protocol: 'UDP' },
        { name: 'blue', port: 8081, protocol: 'UDP' },
      ],
    );
    await cluster.server.put(service, slice);
    for (const [pod, source] of [
      [red, near],
      [blue, near],
    ] as const)
      run(pod.name, 'ip', 'route', 'replace', `${vip}/32`, 'dev', 'net1', 'src', source);
    await waitFor(
      async () =>
        (await lab.cluster.traffic.connect(red.name, vip, 90, { deadline_ms: 800 })).receipt !== undefined,
      settle_ms,
      () => 'the pod of the network does not reach the service',
    );
    t.match(
      await traffic.tcp(red.name, b.topology.pods[0]!.name, vip, {
        port: 90,
        listen_port: 8080,
        bytes: 3_000_000,
      }),
      { whole: true, receipt: { peer: near, at: far } },
      'by a pod of the network, under its own address',
    );
    const asked = (from: Pod, port: number) => traffic.ask(from.name, vip, port, { count: 3, wait_ms: 300 });
    t.match(await asked(red, 90), { answered: 3, answered_by: [b.topology.pods[0]!.name] });
    t.match(await asked(red, 91), { answered: 0 }, 'to a port that its policies in red do not let in');
    t.match(await asked(blue, 90), { answered: 0 }, 'a pod of another network does not reach them');
    t.match(
      await asked(blue, 91),
      { answered: 3, answered_by: [b.topology.pods[1]!.name] },
      'but whoever has the address in its own',
    );
    t.match(await asked(other, 90), { answered: 0 }, 'nor does one of the default network');

    const inside = kubernetesService({
      name: 'inside',
      spec: { clusterIP: '10.77.0.9', clusterIPs: ['10.77.0.9'], type: 'ClusterIP', ports: [{ port: 80 }] },
    });
    await cluster.server.put(inside, endpointSlice('inside', [{ address: far, node: 'n2' }], [{ port: 80 }]));
    await lab.untilSaid(a, /inside[^}]*10\.77\.0\.9[^}]*Network (blue|red)/);
    t.notOk(
      Object.keys(await a.services()).some((key) => key.includes('10.77.0.9')),
      'it is not in VPP',
    );
    await cluster.server.remove(service, slice, inside);
    t.strictSame(await lab.differences(a), []);
  });

  await t.test('a memif is the way into a network', async (t) => {
    const pod = b.topology.pods[2]!;
    await b.add(pod, { ifname: 'memif1', network_name: 'red', ips: [`${at_memif.ip4}/24`], routes: [] });
    t.match(run(pod.name, 'cat', '/proc/net/unix'), /@memif1$/m, 'VPP listens in the pod');
    t.match(run(pod.name, 'ip', '-o', 'addr', 'show', 'dev', 'memif1'), /10\.77\.2\.9\/32/);
    if (!found.usable) return;
    const client = await MemifClient.start(found, cluster.nodes, pod, 'm1', {
      mode: 'ethernet',
      socket: 'memif1',
      addresses: at_memif,
    });
    t.teardown(() => client.stop());
    await client.untilConnected();
    const asks = async (said: string): Promise<void> => {
      await waitFor(
        async () => (await traffic.udp(red.name, 'm1', at_memif.ip4, { port: 8080, count: 1 })).answered > 0,
        settle_ms,
        () => `${said}: the memif is not reached`,
      );
      t.match(
        await traffic.udp(red.name, 'm1', at_memif.ip4, { port: 8080 }),
        { answered: 5, answered_by: ['m1'], seen_as: [near] },
        `${said}: by a pod of the network on another node`,
      );
      t.match(
        await traffic.udp(b.topology.pods[0]!.name, 'm1', at_memif.ip4, { port: 8082 }),
        { answered: 5, answered_by: ['m1'], seen_as: [far] },
        `${said}: and on its own`,
      );
      t.match(
        await traffic.udp(other.name, 'm1', at_memif.ip4, { port: 8080, count: 2 }),
        { answered: 0 },
        `${said}: not by whom its policies do not let in`,
      );
      t.match(
        await traffic.udp(blue.name, 'm1', at_memif.ip4, { port: 8081, count: 2 }),
        { answered: 0 },
        `${said}: not by a pod of another network`,
      );
      t.match(
        await traffic.tcp(red.name, 'm1', at_memif.ip4, { port: 8080, bytes: 2_000_000 }),
        { whole: true, receipt: { peer: near } },
        said,
      );
    };
    await asks('at first');
    t.match(
      await traffic.udp('m1', b.topology.pods[0]!.name, far, { port: 8082 }),
      { answered: 5, seen_as: [at_memif.ip4] },
      'from the program to a pod of its network',
    );
    t.strictSame(await lab.differences(b), []);
    const old = b.vppPid()!;
    process.kill(old, 'SIGKILL');
    await b.untilOtherVpp(old);
    await b.untilReady();
    await client.untilConnected();
    await asks('another VPP');
    await b.kill('SIGKILL');
    await b.restart();
    lab.snapshot();
    await asks('another process');
    t.strictSame(await lab.differences(b), []);
    await b.del(pod, { ifname: 'memif1' });
    t.notMatch(run(pod.name, 'cat', '/proc/net/unix'), /@memif1$/m);
    t.strictSame(await lab.differences(b), [], 'nothing is left');
  });

  await t.test('a range is widened under its pods', async (t) => {
    lab.snapshot();
    await lab.untilMatrix(judged, 'before');
    const prober = traffic.probe(red.name, far);
    await prober.untilAnswered(5000);
    await cluster.server.put(networkObject('red', { range: '10.76.0.0/15' }));
    await cluster.giveBlock(b.topology, '10.76.2.0/26');
    await lab.attach(b, 2, 'red', '10.76.2.7');
    await traffic.serve(b.topology.pods[2]!.name, 8080);
    t.notMatch(
      run(red.name, 'ip', 'route'),
      /10\.76\.0\.0\/15/,
      'a pod that is there has the route that it had',
    );
    await lab.attach(a, 0, 'red', near);
    t.match(run(red.name, 'ip', 'route'), /10\.76\.0\.0\/15 dev net1/, 'until its ADD is repeated');
    await waitFor(
      () => lab.reaches(red, '10.76.2.7', 8080),
      settle_ms,
      () => 'a pod of the wider range is not reached',
    );
    const { lost, received } = await prober.stop();
    // A machine with too much to do loses one now and then.
    t.ok(lost <= received / 50, `${lost} of ${received} answers were lost meanwhile`);
    await b.del(b.topology.pods[2]!, { ifname: 'net1' });
    await cluster.takeBlock(b.topology, '10.76.2.0/26');
    await cluster.server.put(networkObject('red'));
    await lab.untilMatrix(judged, 'as before');
  });

  await t.test('the gate goes off under a VPP that lives', async () => {
    await b.kill('SIGKILL');
    b.setEnvironment({ CALICOVPP_FEATURE_GATES: '{"memifEnabled": true}' });
    await b.restart();
    lab.snapshot();
    await lab.untilNetworks(b, []);
    await lab.untilSaid(b, /pod default\/n2p1 net1: the network red is not there: .*multinetEnabled/);
    await lab.untilMatrix({ default: [80], red: [], 'other red': [], blue: [] }, 'no network is left');
    await b.kill('SIGKILL');
    b.setEnvironment({ CALICOVPP_FEATURE_GATES: on });
    await b.restart();
    lab.snapshot();
    await lab.untilNetworks(b, ['red', 'blue']);
    await lab.untilMatrix(judged, 'the gate is open again');
  });

  await t.test('a network goes while pods come into it, again and again', async (t) => {
    const pod = b.topology.pods[2]!;
    const brief = network('brief', { vni: 4099, range: '10.79.0.0/16' });
    const outcomes: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      await cluster.server.put(brief);
      const ask = { ifname: 'net1', network_name: 'brief', ips: ['10.79.2.5/24'], routes: [] };
      // The API server tells of it while the ADD is on its way; from now on the ADD finds it there, not yet, or not any more.
      const pause_ms = round * 20;
      const asked = sleep(pause_ms).then(() => b.add(pod, ask));
      const removed = sleep(pause_ms + (round % 3) * 15).then(() => cluster.server.remove(brief));
      outcomes.push(
        await asked.then(
          () => 'added',
          (error: Error) => error.message,
        ),
      );
      await removed;
      await b.del(pod, { ifname: 'net1' });
    }
    for (const outcome of outcomes)
      if (outcome !== 'added') t.match(outcome, /the network brief is not there/, 'refused by name');
    t.comment(`${outcomes.filter((outcome) => outcome === 'added').length} of ${outcomes.length} were added`);
    await lab.untilNetworks(b, ['red', 'blue']);
    t.strictSame(await lab.differences(b), [], 'nothing is left of it');
    await lab.untilMatrix(judged, 'beside it');
  });

  await t.test('nothing is left', async (t) => {
    for (const node of [a, b]) {
      for (const pod of node.topology.pods) await node.del(pod, { ifname: 'net1' });
      t.strictSame(await lab.differences(node), []);
    }
    await cluster.server.remove(networkObject('red'), networkObject('blue'));
    for (const node of [a, b]) await lab.untilNetworks(node, []);
    for (const node of [a, b]) t.strictSame(await node.stop(), { code: 0, signal: null });
  });
});
