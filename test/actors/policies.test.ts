import fc from 'fast-check';
import t from 'tap';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import type { FelixMessage, Rule } from '../../src/felix/messages.js';
import type { Teardown } from '../kit/actor-kit.js';
import type { Packet } from '../kit/policy-evaluator.js';
import {
  flowOf,
  hostOf,
  messagesOf,
  packet,
  places,
  pod_key,
  podOf,
  policyOf,
  ruleOf,
  type Scene,
  scene,
  side,
  smallest,
  tierOf,
} from '../policies/scenes.js';
import { isolated, PoliciesLab, tags, tcp, watched } from './policies-lab.js';

async function started(t: Teardown, settings = { does_ike: false }): Promise<PoliciesLab> {
  const lab = await PoliciesLab.start(t, settings);
  await lab.newVpp();
  await lab.nodeReady();
  lab.putPod();
  return lab;
}

t.test('from a stream of Felix to a verdict', async (t) => {
  const lab = await started(t);
  t.equal(lab.npol.interfaces.size, 0, 'before the first InSync nothing is written');
  const messages = messagesOf(isolated);
  await lab.felix(messages.slice(0, -1));
  t.equal(lab.npol.interfaces.size, 0);
  await lab.tell(messages.slice(-1));
  t.equal(lab.npol.interfaces.size, 3);
  const into = (packet: Packet) => verdict(lab.npol, 1, false, flowOf(packet));
  t.equal(into(tcp('10.0.0.3', '10.0.0.2', 80)), 'allow');
  t.equal(into(tcp('fd00::3', 'fd00::2', 80)), 'allow');
  t.equal(into(tcp('10.0.0.4', '10.0.0.2', 80)), 'deny', 'not in the set');
  t.equal(into(tcp('10.0.0.3', '10.0.0.2', 81)), 'deny', 'another port');
  t.equal(into(tcp('10.0.0.6', '10.0.0.2', 81)), 'allow', 'the node itself');
  t.equal(verdict(lab.npol, 1, true, flowOf(tcp('10.0.0.2', '10.0.0.4', 9))), 'allow', 'out of the pod');
  t.same(
    lab.statuses.map((status) => ({ ...status, endpoint: undefined })),
    [{ kind: 'workload', endpoint: undefined, state: 'up' }],
  );
  t.equal(lab.taken, 2, 'Felix may go on');
  const { interfaces } = await lab.show();
  const judgement = {
    ingress: { policies: ['@from-host', 'NetworkPolicy a/1'], otherwise: 'deny' },
    egress: { policies: ['@vxlan'], otherwise: 'pass' },
    profiles: ['profile kns'],
  };
  t.same(interfaces.pod, {
    kind: 'workload',
    endpoint: pod_key,
    state: 'enforced',
    desired: judgement,
    programmed: judgement,
    refusals: [],
    policies: ['NetworkPolicy a/1', 'profile kns'],
  });
});

t.test('where IPsec is on pods do not reach the IKE of their node', async (t) => {
  const lab = await started(t, { does_ike: true });
  await lab.felix(messagesOf(isolated));
  const ike = { ...tcp('10.0.0.2', '10.0.0.6', 500), protocol: 17 };
  t.equal(verdict(lab.npol, 1, true, flowOf(ike)), 'deny');
  t.equal(verdict(lab.npol, 1, true, flowOf({ ...ike, destination: '10.0.0.7' })), 'allow');
});

t.test('whatever Felix wants, npol says what Calico says', async (t) => {
  const lab = await started(t);
  await fc.assert(
    fc.asyncProperty(scene, fc.array(packet, { minLength: 1, maxLength: 20 }), async (scene, packets) => {
      await lab.felix(messagesOf(scene));
      const refused = Object.keys(lab.report().refusals).length > 0;
      for (const packet of packets)
        for (const { where, calico, npol } of places(scene, lab.npol, packet))
          if (npol !== calico && !(refused && npol === 'deny'))
            throw new Error(`${where}: Calico ${calico}, VPP ${npol}: ${JSON.stringify(packet)}`);
    }),
    { numRuns: Number(process.env.POLICY_RUNS ?? 40), asyncReporter: async (details) => smallest(details) },
  );
});

t.test('on the way from one state to the next no verdict is neither the one nor the other', async (t) => {
  const lab = await started(t);
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      scene,
      scene,
      fc.array(packet, { minLength: 10, maxLength: 30 }),
      async (before, after, packets) => {
        await lab.felix(messagesOf(before));
        const verdicts = (of: Scene) =>
          packets.flatMap((packet) => places(of, lab.npol, packet).map(({ npol }) => npol));
        const from = verdicts(before);
        const seen: string[][] = [];
        const end = watched(lab, () => seen.push(verdicts(before)));
        await lab.felix(messagesOf(after));
        end();
        const to = verdicts(after);
        for (const [step, now] of seen.entries())
          for (const [i, verdict] of now.entries()) {
            if (from[i] !== to[i]) continue;
            compared += 1;
            if (verdict !== from[i])
              throw new Error(
                `step ${step} of ${seen.length}: ${verdict} instead of ${from[i]} for ${JSON.stringify(packets[Math.floor(i / 6)])} at ${i % 6}`,
              );
          }
      },
    ),
    { numRuns: Number(process.env.POLICY_RUNS ?? 20), asyncReporter: async (details) => smallest(details) },
  );
  t.ok(compared > 1000);
});

t.test('a new VPP is settled when it has all that pods need, or refuses it', async (t) => {
  const lab = await PoliciesLab.start(t);
  lab.putPod();
  const settles: number[] = [];
  let sent = 0;
  const asks = (generation: number): boolean =>
    lab.interfaces.whenSettled(generation, () => {
      settles.push(generation);
      sent = lab.transactions.length;
    });
  const begins = async (): Promise<void> => {
    await lab.kit.tell({ type: 'NodeLost', generation: lab.generation, reason: 'VPP died' });
    await lab.newVpp();
  };
  t.notOk(asks(1), 'nobody knows what VPP is to have');
  await lab.newVpp();
  await lab.nodeReady();
  const messages = messagesOf(isolated);
  await lab.felix(messages.slice(0, -1));
  t.notOk(asks(1), 'Felix has not told everything');
  await lab.tell(messages.slice(-1));
  t.notOk(asks(1), 'it is settled by now');

  await begins();
  t.ok(asks(2));
  // The pod's interface comes after them.
  await lab.own([{ action: 'remove', object: { kind: 'loopback', tag: 'pod' } }]);
  await lab.nodeReady();
  t.same(settles, [2]);
  t.ok(sent > 0 && sent === lab.transactions.length, 'nothing is sent after that');
  await lab.make(['pod']);
  await lab.own([{ action: 'add', object: { kind: 'default_verdict', interface: 'pod', verdict: 'deny' } }]);
  const pod = [...lab.npol.interfaces.keys()].at(-1)!;
  t.equal(verdict(lab.npol, pod, false, flowOf(tcp('10.0.0.3', '10.0.0.2', 80))), 'allow', 'at once');
  t.equal(verdict(lab.npol, pod, false, flowOf(tcp('10.0.0.4', '10.0.0.2', 80))), 'deny');

  await begins();
  t.ok(asks(3));
  lab.before = () => new Error('no answer');
  await lab.nodeReady();
  t.same(settles, [2], 'a VPP that does not answer is not');
  lab.before = () => undefined;
  await lab.kit.clock.advance(1000);
  await lab.rest();
  t.same(settles, [2, 3]);

  await begins();
  t.ok(asks(4));
  await lab.kit.tell({ type: 'NodeLost', generation: lab.generation, reason: 'VPP died' });
  await lab.rest();
  await lab.newVpp();
  await lab.nodeReady();
  t.same(settles, [2, 3], 'nor one that is no more');
});

t.test('messages that are of no use are told once for each object, and a hundred of them', async (t) => {
  const lab = await started(t);
  const warnings = () => lab.kit.log.lines.filter(({ level }) => level === 'warn').length;
  const senseless = (count: number): FelixMessage[] =>
    Array.from({ length: count }, (_, at) => ({ kind: 'set_removed', id: `s:${at % 10}` }));
  await lab.felix([...messagesOf(isolated), ...senseless(1000)]);
  t.equal(warnings(), 10);
  t.equal(Object.keys(lab.report().problems).length, 10);
  await lab.felix([...messagesOf(isolated), ...senseless(1000)]);
  t.equal(warnings(), 10, 'nor again by the next Felix');
  const others = Array.from({ length: 2000 }, (_, at) => ({ kind: 'host_removed', id: `${at}` }) as const);
  await lab.tell(others);
  t.equal(warnings(), 100);
  t.equal(Object.keys(lab.report().problems).length, 100);
});

t.test('what VPP has of policies is in the gauges by the name of its metric', async (t) => {
  const lab = await started(t);
  t.match(lab.gauges(), { in_vpp: 0 });
  await lab.felix(messagesOf(isolated));
  const { rules, policies, sets, interfaces } = lab.npol;
  const there = [...rules].length + [...policies].length + [...sets].length + interfaces.size;
  t.match(lab.gauges(), { in_vpp: there });
});

t.test('before Felix has spoken a pod that is made is open to its own node alone', async (t) => {
  const lab = await PoliciesLab.start(t);
  await lab.newVpp();
  await lab.nodeReady();
  const pod = { attachment: { kind: 'workload', endpoint: pod_key }, addresses: ['10.0.0.2'] } as const;
  lab.interfaces.put('pod', pod);
  await lab.rest();
  t.equal(lab.npol.interfaces.size, 0, 'of one that an earlier life has made nobody knows what is in force');
  const made = async (): Promise<void> => {
    lab.interfaces.put('pod', pod, true);
    await lab.rest();
  };
  const into = (source: string) => verdict(lab.npol, 1, false, flowOf(tcp(source, '10.0.0.2', 80)));
  const judged = () => [into('10.0.0.6'), into('10.0.0.3')];
  await made();
  t.same(judged(), ['allow', 'deny'], 'the node itself, and somebody else');
  t.equal(
    verdict(lab.npol, 1, true, flowOf(tcp('10.0.0.2', '10.0.0.3', 80))),
    'deny',
    'nor anything out of it',
  );
  t.same([...lab.npol.interfaces.keys()], [1], 'the host and what passes it are as they were');
  t.match((await lab.show()).interfaces.pod, { state: 'waiting' });
  t.match(lab.report(), { waits: /not connected.* open to their node alone/ });

  const messages = messagesOf(isolated);
  await lab.felix(messages.slice(0, -1));
  t.same(judged(), ['allow', 'deny']);
  await lab.tell(messages.slice(-1));
  t.same(judged(), ['allow', 'allow'], 'what Felix says');

  await lab.kit.crash(new Error('defect'));
  await lab.kit.clock.advance(1000);
  await lab.nodeReady();
  await lab.rest();
  t.same(judged(), ['allow', 'allow'], 'which stays in force for who begins anew');
  await lab.newVpp();
  await lab.nodeReady();
  await made();
  t.same(judged(), ['allow', 'deny'], 'and is not known of a new VPP');
});

t.test(
  'tunnels are judged by the endpoint for all interfaces, and else by that of their uplink',
  async (t) => {
    const lab = await PoliciesLab.start(t);
    lab.names = [...tags, 'ipip-10.0.0.7'];
    await lab.newVpp();
    await lab.nodeReady();
    lab.putPod();
    const tunnel = { attachment: { kind: 'tunnel' }, addresses: [] } as const;
    lab.interfaces.put('ipip-10.0.0.7', tunnel);
    const passes = () => verdict(lab.npol, 4, true, flowOf(tcp('10.9.0.3', '10.0.0.2', 80)));
    const endpoint = (name: string, policy: string): FelixMessage => {
      const forward = [tierOf('default', 'deny', [policy], [])];
      return { kind: 'host', id: `node-${name}`, endpoint: hostOf({ name, forward }) };
    };
    const [allows, denies] = ['GlobalNetworkPolicy allow', 'GlobalNetworkPolicy deny'];
    await lab.felix([
      { kind: 'config', config: new Map() },
      { kind: 'policy', key: allows!, policy: policyOf([ruleOf('allow')]) },
      { kind: 'policy', key: denies!, policy: policyOf([ruleOf('deny')]) },
      { kind: 'in_sync' },
    ]);
    t.equal(passes(), 'allow', 'nobody says anything of what passes the node');
    await lab.tell([endpoint('eth0', denies!)]);
    t.equal(passes(), 'deny', 'that of the uplink');
    t.match((await lab.show({ of: 'ipip-10.0.0.7' })).interfaces, {
      'ipip-10.0.0.7': { kind: 'tunnel', endpoint: 'eth0', governed_by: 'node-eth0', state: 'enforced' },
    });
    await lab.tell([endpoint('*', allows!)]);
    t.equal(passes(), 'allow', 'that for all interfaces');
    await lab.tell([{ kind: 'host_removed', id: 'node-*' }]);
    t.equal(passes(), 'deny');
    lab.interfaces.remove('ipip-10.0.0.7');
    await lab.rest();
    t.same((await lab.show({ of: 'ipip-10.0.0.7' })).interface_count, 0);
  },
);

t.test('interfaces and tunnels of a network are judged by the rules that are for it', async (t) => {
  const lab = await PoliciesLab.start(t);
  const [tunnel, later] = ['vxlan-4097-10.0.0.7', 'vxlan-4098:4000-10.0.0.7'];
  lab.names = [...tags, tunnel, 'pod-red', later];
  await lab.newVpp();
  const networkHere = (name: string, vni: number) => ({
    name,
    vni,
    physical_network: '',
    underlay: { table_id: 0, mtu: 1500 },
  });
  await lab.nodeReady({ networks: [networkHere('red', 4097)] });
  lab.putPod();
  lab.interfaces.put('pod-red', {
    attachment: { kind: 'workload', endpoint: pod_key, network: 'red' },
    addresses: [],
  });
  for (const tag of [tunnel, later])
    lab.interfaces.put(tag, { attachment: { kind: 'tunnel' }, addresses: [] });
  const key = 'GlobalNetworkPolicy a';
  const port = (port: number, more: Partial<Rule> = {}) =>
    ruleOf('allow', { dst: side({ ports: [{ first: port, last: port }] }), protocol: 'tcp', ...more });
  await lab.felix([
    { kind: 'config', config: new Map() },
    { kind: 'policy', key, policy: policyOf([port(80), port(81, { network: 'red' })]) },
    { kind: 'workload', key: pod_key, endpoint: podOf([tierOf('default', 'deny', [key], [])], []) },
    {
      kind: 'host',
      id: 'node-*',
      endpoint: hostOf({ name: '*', forward: [tierOf('default', 'deny', [key], [])] }),
    },
    { kind: 'in_sync' },
  ]);
  const judged = (index: number, inbound: boolean) =>
    [80, 81].map((port) => verdict(lab.npol, index, inbound, flowOf(tcp('10.9.0.3', '10.0.0.2', port))));
  const of_default = ['allow', 'deny'];
  const of_red = ['deny', 'allow'];
  t.strictSame(judged(1, false), of_default, 'the pod');
  t.strictSame(judged(5, false), of_red, 'the pod in the network');
  t.strictSame(judged(3, true), of_default, 'the uplink');
  t.strictSame(judged(4, true), of_red, 'the tunnel of the network');
  t.strictSame(judged(6, true), of_default, 'a tunnel of no network');
  t.match((await lab.show({})).interfaces, {
    [tunnel]: { network: 'red' },
    'pod-red': { network: 'red', endpoint: pod_key },
    [later]: { network: undefined },
  });
  t.strictSame(lab.report().problems, {});
  await lab.nodeReady({ networks: [networkHere('red', 4098)] });
  t.strictSame(judged(4, true), of_red, 'it is told no more, and its tunnel not gone yet');
  t.strictSame(judged(6, true), of_red, 'another VNI');
  lab.interfaces.remove(tunnel);
  await lab.rest();
  await lab.nodeReady({ networks: [] });
  t.match(lab.report().problems, {
    [key]: /rules for red, of which this node has no network: .* create a Network/,
  });
  lab.interfaces.put(tunnel, { attachment: { kind: 'tunnel' }, addresses: [] });
  await lab.rest();
  t.strictSame(judged(4, true), of_default, 'nothing is remembered of a network without tunnels');
  await lab.nodeReady();
  t.strictSame(lab.report().problems, {}, 'which there are is not known');
});

t.test(
  'a tunnel of an earlier life keeps its verdict until it is known whether it is of a network',
  async (t) => {
    const lab = await PoliciesLab.start(t);
    const [red, gone, own, plain] = [
      'vxlan-4097-10.0.0.7',
      'vxlan-4099-10.0.0.7',
      'vxlan-4096-10.0.0.7',
      'ipip-10.0.0.7',
    ] as const;
    lab.names = [...tags, red, gone, own, plain];
    const networkHere = (name: string, vni: number) => ({
      name,
      vni,
      physical_network: '',
      underlay: { table_id: 0, mtu: 1500 },
    });
    const key = 'GlobalNetworkPolicy a';
    const port = (port: number, more: Partial<Rule> = {}) =>
      ruleOf('allow', { dst: side({ ports: [{ first: port, last: port }] }), protocol: 'tcp', ...more });
    const told = (first: number): FelixMessage[] => [
      { kind: 'config', config: new Map() },
      { kind: 'policy', key, policy: policyOf([port(first), port(81, { network: 'red' })]) },
      {
        kind: 'host',
        id: 'node-*',
        endpoint: hostOf({ name: '*', forward: [tierOf('default', 'deny', [key], [])] }),
      },
      { kind: 'in_sync' },
    ];
    const judged = (tag: string) =>
      [80, 81, 82].filter(
        (port) =>
          verdict(lab.npol, lab.names.indexOf(tag) + 1, true, flowOf(tcp('10.9.0.3', '10.0.0.2', port))) ===
          'allow',
      );
    const count = () => [...lab.npol.policies].length;
    const used = () =>
      new Set([...lab.npol.interfaces.values()].flatMap(({ policy_ids }) => policy_ids)).size;
    const all = () => [red, gone, own, plain].map(judged);
    const put = (tag: string, is_left = false) =>
      lab.interfaces.put(tag, {
        attachment: { kind: 'tunnel', ...(is_left && { is_left }) },
        addresses: [],
      });
    await lab.newVpp();
    await lab.nodeReady({ networks: [networkHere('red', 4097), networkHere('gone', 4099)] });
    lab.putPod();
    for (const tag of [red, gone, own, plain]) put(tag);
    await lab.felix(told(80));
    t.strictSame(all(), [[81], [], [80], [80]]);

    await lab.begin(t);
    await lab.connect();
    for (const tag of [red, gone, own, plain]) put(tag, true);
    const changed = watched(lab, () => {
      t.strictSame([red, gone].map(judged), [[81], []], 'at no moment another one');
    });
    await lab.nodeReady();
    lab.putPod();
    await lab.felix(told(82));
    t.strictSame(all(), [[81], [], [80], [82]], 'which networks there are is not known');
    put(own);
    await lab.rest();
    t.strictSame(judged(own), [82], 'one that is asked for meanwhile is of the default network');
    await lab.nodeReady({ networks: [networkHere('red', 4097)] });
    t.strictSame(all(), [[81], [], [82], [82]]);
    changed();
    await lab.own([{ action: 'remove', object: { kind: 'loopback', tag: gone } }]);
    lab.interfaces.remove(gone);
    await lab.rest();
    t.equal(count(), used(), 'what nothing is judged by is gone');
  },
);

t.test('what is left of an earlier life waits for all who may have interfaces of it', async (t) => {
  const lab = await PoliciesLab.start(t);
  await lab.newVpp();
  await lab.nodeReady();
  lab.putPod();
  await lab.felix(messagesOf(isolated));
  await lab.begin(t);
  await lab.connect();
  await lab.nodeReady();
  const pod = { attachment: { kind: 'workload', endpoint: pod_key }, addresses: [] } as const;
  lab.interfaces.put('pod', pod);
  const before = [...lab.npol.policies].length;
  await lab.felix(messagesOf(isolated));
  lab.interfaces.complete('cni');
  await lab.rest();
  t.ok([...lab.npol.policies].length > before, 'a tunnel may be judged by them');
  lab.interfaces.complete('connectivity');
  await lab.rest();
  t.equal([...lab.npol.policies].length, before);
});
