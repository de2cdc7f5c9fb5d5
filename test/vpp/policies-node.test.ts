/** Policies on a real VPP, from Felix's socket to packets: who reaches whom, while policies change, and over each restart. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MemifClient } from '../../lab/memif-client.js';
import { canUseNetns } from '../../lab/netns.js';
import { patience } from '../../lab/patience.js';
import { missing } from '../../lab/programs.js';
import {
  findRealFelix,
  RealFelix,
  type Stored,
  stored,
  storedCluster,
  storedPod,
} from '../../lab/real-felix.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode, waitFor } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { findVcl, type Place, VclLab } from '../../lab/vcl.js';
import type { FelixReport } from '../../src/actors/felix.js';
import { needs } from '../kit/needs.js';
import { type Payload, policyId, policyRef, set, Voice } from './felix-voice.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = needs(reason);

/** Lets in on this port of TCP and UDP who is in this set, and its echo requests. */
function lets(name: string, port: number, set: string): Payload {
  const of = (number: number) => ({
    action: 'allow',
    protocol: { numberOrName: { case: 'number' as const, value: number } },
    srcIpSetIds: [set],
    ...([6, 17].includes(number) && { dstPorts: [{ first: port, last: port }] }),
  });
  return {
    case: 'activePolicyUpdate',
    value: { id: policyId(name), policy: { inboundRules: [6, 17, 1, 58].map(of) } },
  };
}

const profile: Payload = {
  case: 'activeProfileUpdate',
  value: {
    id: { name: 'kns.default' },
    profile: { inboundRules: [{ action: 'allow' }], outboundRules: [{ action: 'allow' }] },
  },
};

function endpoint(
  { name, ip4, ip6 }: Pod,
  policies: readonly string[] = [],
  egress: readonly string[] = [],
): Payload {
  const of_egress = egress.length === 0 ? {} : { egressPolicies: egress.map(policyRef) };
  const tiers =
    policies.length === 0
      ? []
      : [
          {
            name: 'default',
            ingressPolicies: policies.map(policyRef),
            ...of_egress,
            defaultAction: 'Deny',
          },
        ];
  return {
    case: 'workloadEndpointUpdate',
    value: {
      id: { orchestratorId: 'k8s', workloadId: `default/${name}`, endpointId: 'eth0' },
      endpoint: {
        state: 'active',
        name: `cali${name}`,
        profileIds: ['kns.default'],
        ipv4Nets: [`${ip4}/32`],
        ipv6Nets: [`${ip6}/128`],
        tiers,
      },
    },
  };
}

const deniesEgress: Payload = {
  case: 'activePolicyUpdate',
  value: { id: policyId('shut'), policy: { outboundRules: [{ action: 'deny' }] } },
};

const begins: Payload = { case: 'configUpdate', value: { config: {} } };
const in_sync: Payload = { case: 'inSync', value: {} };

/** Three pods: a server, one that is let in, one that is not. */
class Lab {
  readonly topology = new Topology({ pods: 3 });
  readonly traffic = new Traffic(this.topology);
  node!: RunningNode;
  felix: Voice | undefined;
  said = '';
  readonly server: Pod;
  readonly friend: Pod;
  readonly stranger: Pod;

  constructor() {
    const [server, friend, stranger] = this.topology.pods;
    this.server = server!;
    this.friend = friend!;
    this.stranger = stranger!;
  }

  async start(t: Test): Promise<this> {
    if (!vpp.usable) throw new Error(vpp.why);
    t.teardown(async () => {
      this.felix?.close();
      await this.node?.close();
      this.traffic.close();
      this.topology.close();
    });
    const gates = '{"memifEnabled": true, "vclEnabled": true}';
    const environment = { CALICOVPP_FELIX: 'on', CALICOVPP_FEATURE_GATES: gates };
    this.node = await startNode(this.topology, { vpp, environment });
    for (const pod of this.topology.pods) await this.node.add(pod);
    for (const port of [80, 81]) await this.traffic.serve(this.server.name, port);
    return this;
  }

  /** A new Felix, which says all that there is. */
  snapshot(...more: readonly Payload[]): void {
    this.felix?.close();
    this.felix = new Voice(this.node.config.paths.felix_socket);
    this.felix.say(
      begins,
      set('s:friends', [this.friend.ip4, this.friend.ip6]),
      lets('web', 80, 's:friends'),
      profile,
    );
    this.felix.say(
      endpoint(this.server, ['web']),
      endpoint(this.friend),
      endpoint(this.stranger),
      ...more,
      in_sync,
    );
  }

  async untilEnforced(deadline_ms = 20_000): Promise<void> {
    await waitFor(
      async () => {
        const { sync } = JSON.parse(await this.node.debug('/debug/sync')) as {
          sync: { policies?: { waits: string } };
        };
        const { policies } = sync;
        this.said = JSON.stringify(policies);
        return policies?.waits === '' && (await this.reaches(this.friend, 80));
      },
      deadline_ms * patience,
      () => `policies are not enforced: ${this.said}`,
    );
  }

  async reaches(from: Pod, port: number, family: 'ip4' | 'ip6' = 'ip4', deadline_ms = 700): Promise<boolean> {
    const { receipt } = await this.traffic.connect(from.name, this.server[family], port, { deadline_ms });
    return receipt !== undefined;
  }

  /** As the kubelet does to probe it. */
  async nodeReaches(port: number, family: 'ip4' | 'ip6' = 'ip4'): Promise<boolean> {
    const { receipt } = await this.traffic.connect('node', this.server[family], port, { deadline_ms: 3000 });
    return receipt !== undefined;
  }

  async until(reached: boolean, from: Pod, port: number, deadline_ms = 20_000): Promise<void> {
    const what = `${from.name} ${reached ? 'does not reach' : 'still reaches'} port ${port}`;
    await waitFor(
      async () => (await this.reaches(from, port)) === reached,
      deadline_ms * patience,
      () => what,
    );
  }

  /** Of the friend and the stranger, over TCP, UDP and ICMP, both families. */
  async matrix(): Promise<Record<string, boolean>> {
    const all: Record<string, boolean> = {};
    for (const from of [this.friend, this.stranger])
      for (const family of ['ip4', 'ip6'] as const) {
        const who = `${from === this.friend ? 'friend' : 'stranger'} ${family}`;
        for (const port of [80, 81]) {
          all[`${who} tcp ${port}`] = await this.reaches(from, port, family);
          const { answered } = await this.traffic.ask(from.name, this.server[family], port, {
            count: 1,
            wait_ms: 500,
          });
          all[`${who} udp ${port}`] = answered > 0;
        }
        all[`${who} icmp`] = (await this.traffic.ping(from.name, this.server[family], { count: 1 })) > 0;
      }
    return all;
  }
}

const expected = Object.fromEntries(
  ['friend', 'stranger'].flatMap((who) =>
    ['ip4', 'ip6'].flatMap((family) => [
      ...[80, 81].flatMap((port) =>
        ['tcp', 'udp'].map((protocol) => [
          `${who} ${family} ${protocol} ${port}`,
          who === 'friend' && port === 80,
        ]),
      ),
      [`${who} ${family} icmp`, who === 'friend'],
    ]),
  ),
);

t.test('from the socket to packets, and over each restart', real(), async (t) => {
  const lab = await new Lab().start(t);
  t.notOk(await lab.reaches(lab.friend, 80), 'nothing passes before Felix has spoken');
  for (const family of ['ip4', 'ip6'] as const) {
    t.ok(await lab.nodeReaches(80, family), `but what the node itself says, over ${family}`);
    t.ok((await lab.traffic.ping('node', lab.server[family], { count: 3 })) > 0);
  }
  lab.snapshot();
  await lab.untilEnforced();
  t.same(await lab.matrix(), expected);

  lab.snapshot();
  t.same(await lab.matrix(), expected, 'a new Felix');
  lab.felix?.close();
  t.same(await lab.matrix(), expected, 'no Felix');

  await lab.node.kill('SIGKILL');
  t.same(await lab.matrix(), expected, 'without a process');
  await lab.node.restart();
  t.same(await lab.matrix(), expected, 'an adopted VPP, before Felix');
  lab.snapshot();
  await lab.untilEnforced();
  t.same(await lab.matrix(), expected, 'an adopted VPP, with Felix');

  const old = lab.node.vppPid()!;
  process.kill(old, 'SIGKILL');
  await lab.node.untilOtherVpp(old);
  await lab.untilEnforced();
  t.same(await lab.matrix(), expected, 'another VPP, of which Felix does not know');
});

t.test('on a memif as on the device', real(), async (t) => {
  if (!vpp.usable) throw new Error(vpp.why);
  const lab = await new Lab().start(t);
  const { node, server, friend, stranger, topology, traffic } = lab;
  const behind = 'memif';
  await node.del(server);
  await node.add(server, {
    annotations: {
      'cni.projectcalico.org/vppExtraMemifPorts': 'tcp:80,udp:80-81',
      'cni.projectcalico.org/vppExtraMemifSpec': '{"isl3": true}',
    },
  });
  const program = await MemifClient.start(vpp, topology, server, behind, { mode: 'ip' });
  t.teardown(() => program.stop());
  await program.untilConnected();
  for (const port of [80, 81]) await traffic.serve(behind, port);
  t.notOk(await lab.reaches(friend, 80), 'nothing passes before Felix has spoken');
  lab.snapshot();
  await lab.untilEnforced();
  const ask = async (from: Pod, family: 'ip4' | 'ip6', port: number) => {
    const { answered, answered_by } = await traffic.ask(from.name, server[family], port, {
      count: 1,
      wait_ms: 500,
    });
    return answered > 0 ? answered_by : [];
  };
  for (const family of ['ip4', 'ip6'] as const) {
    t.ok(await lab.reaches(friend, 80, family), `who is let in reaches the program, ${family}`);
    t.same(await ask(friend, family, 80), [behind], 'and it is the program that answers');
    t.notOk(await lab.reaches(stranger, 80, family), `who is not does not, ${family}`);
    t.same(await ask(stranger, family, 80), [], 'over UDP neither');
    t.same(await ask(friend, family, 81), [], `nor does anybody reach a port that is not let, ${family}`);
  }
});

const vcl = vpp.usable ? findVcl() : { why: vpp.why };
const no_vcl = reason ?? ('why' in vcl ? vcl.why : missing('iperf3'));

t.test("by VPP's host stack as by the device", no_vcl === undefined ? {} : { skip: no_vcl }, async (t) => {
  if ('why' in vcl) throw new Error(vcl.why);
  const lab = await new Lab().start(t);
  const { node, server, friend, stranger, topology, traffic } = lab;
  const stack = new VclLab(topology, vcl.path);
  t.teardown(() => stack.close());
  const annotations = { 'cni.projectcalico.org/vppVcl': 'enable' };
  for (const pod of [server, stranger]) {
    await node.del(pod);
    await node.add(pod, { annotations });
  }
  const by = ({ name }: Pod, is_stack: boolean): Place => ({ name, vcl: is_stack });
  lab.snapshot();
  await lab.untilEnforced();
  for (const [family, number] of [
    ['ip4', 4],
    ['ip6', 6],
  ] as const) {
    const at = server[family];
    t.ok(await lab.reaches(friend, 80, family), `who is let in reaches the plain process, ${family}`);
    t.notOk(await lab.reaches(stranger, 80, family), `who is not does not, ${family}`);
    // In the host stack they take these ports from the plain process.
    const stop = await Promise.all([80, 81].map((port) => stack.iperfServer(by(server, true), port, number)));
    await waitFor(
      () => stack.isReached(by(friend, false), at, 80),
      30_000 * patience,
      () => `who is let in does not reach the program, ${family}`,
    );
    for (const is_stack of [true, false])
      t.notOk(
        await stack.isReached(by(stranger, is_stack), at, 80),
        `who is not does not, ${is_stack ? 'by the host stack' : 'by its device'}, ${family}`,
      );
    t.notOk(
      await stack.isReached(by(friend, false), at, 81),
      `nobody reaches a port that is not let, ${family}`,
    );
    t.ok(await stack.isReached(by(friend, false), at, 80), `what was denied ended nothing else, ${family}`);
    for (const end of stop) await end();

    // The friend lets nobody in from now on.
    lab.felix?.say(endpoint(friend, ['web']));
    const listens = await stack.iperfServer(by(friend, false), 81, number);
    await waitFor(
      async () => !(await stack.isReached(by(server, false), friend[family], 81)),
      30_000 * patience,
      () => `the policy of ${friend.name} is not in force`,
    );
    t.notOk(await stack.isReached(by(server, true), friend[family], 81), `nor the host stack, ${family}`);
    const asks = await stack.iperfServer(by(server, true), 80, number);
    await waitFor(
      () => stack.isReached(by(friend, false), at, 80),
      30_000 * patience,
      () => `answers to ${friend.name} are denied, ${family}`,
    );
    await asks();
    await listens();
    lab.felix?.say(endpoint(friend));
  }
  t.equal(await traffic.ping(friend.name, server.ip4), 3, 'who is let in is answered its echo requests');
  t.equal(await traffic.ping(stranger.name, server.ip4), 0, 'who is not is not');
});

t.test(
  "what VPP's host stack of a pod begins is judged as what its device sends",
  no_vcl === undefined ? {} : { skip: no_vcl },
  async (t) => {
    if ('why' in vcl) throw new Error(vcl.why);
    const lab = await new Lab().start(t);
    const { node, server, friend, topology } = lab;
    const stack = new VclLab(topology, vcl.path);
    t.teardown(() => stack.close());
    await node.del(server);
    await node.add(server, { annotations: { 'cni.projectcalico.org/vppVcl': 'enable' } });
    const place = { name: server.name, vcl: true };
    const stop = await stack.iperfServer({ name: 'outside', vcl: false }, 5201, 4);
    const outside = topology.outside.ip4!;
    t.notOk(await stack.isReached(place, outside, 5201), 'nothing is sent before Felix has spoken');
    lab.snapshot();
    await lab.untilEnforced();
    await waitFor(
      () => stack.isReached(place, outside, 5201),
      30_000 * patience,
      () => 'what is allowed does not pass',
    );
    lab.felix?.say(deniesEgress, endpoint(server, ['web'], ['shut']));
    await waitFor(
      async () => !(await stack.isReached(place, outside, 5201)),
      30_000 * patience,
      () => 'what the policy denies goes on',
    );
    const serves = await stack.iperfServer(place, 80, 4);
    await waitFor(
      () => stack.isReached({ name: friend.name, vcl: false }, server.ip4, 80),
      30_000 * patience,
      () => 'answers are denied',
    );
    t.pass('answers to who is let in are no flows of its own');
    await serves();
    await stop();
  },
);

const felix = findRealFelix();
const with_felix = needs(reason ?? (felix.usable ? undefined : felix.why));

/** The three pods as Calico keeps them, and a NetworkPolicy that lets the friend in on one port. */
function storedFor({ server, friend, stranger }: Lab, port: number): Stored {
  const pod = ({ name, ip4, ip6 }: Pod, app: string) =>
    storedPod('default', name, { app }, [`${ip4}/32`, `${ip6}/128`]);
  return {
    ...storedCluster('default'),
    ...pod(server, 'server'),
    ...pod(friend, 'friend'),
    ...pod(stranger, 'stranger'),
    ...stored(
      'NetworkPolicy',
      'networkpolicies/default/default.web',
      {
        tier: 'default',
        selector: "app == 'server'",
        types: ['Ingress'],
        ingress: [
          {
            action: 'Allow',
            protocol: 'TCP',
            source: { selector: "app == 'friend'" },
            destination: { ports: [port] },
          },
        ],
      },
      { namespace: 'default' },
    ),
  };
}

t.test(
  'a real Felix: from an object in its datastore to packets, and over its end',
  with_felix(),
  async (t) => {
    if (!felix.usable) throw new Error(felix.why);
    const lab = await new Lab().start(t);
    const { friend, stranger } = lab;
    const real = new RealFelix(felix);
    t.teardown(() => real.close());
    await real.startEtcd(storedFor(lab, 80));
    real.makeDriver(lab.node.config.paths.felix_socket);
    const first = real.start();
    await lab.untilEnforced(60_000);
    const reached = async () => ({
      'friend 80': await lab.reaches(friend, 80),
      'friend 81': await lab.reaches(friend, 81),
      'stranger 80': await lab.reaches(stranger, 80),
      'stranger 81': await lab.reaches(stranger, 81),
      'node 81': await lab.nodeReaches(81),
    });
    const closed = { 'stranger 80': false, 'stranger 81': false, 'node 81': true };
    t.same(await reached(), { ...closed, 'friend 80': true, 'friend 81': false });

    real.put(storedFor(lab, 81));
    await lab.until(true, friend, 81);
    const changed = { ...closed, 'friend 80': false, 'friend 81': true };
    t.same(await reached(), changed, 'the object is changed');

    let over = false;
    const wrong: string[] = [];
    const asked = { friend: 0, stranger: 0 };
    const watch = async (who: 'friend' | 'stranger', port: number, passes: boolean): Promise<void> => {
      for (; !over; asked[who] += 1)
        if ((await lab.reaches(lab[who], port, 'ip4', passes ? 5000 : 300)) !== passes)
          wrong.push(`${who} ${port}`);
    };
    const watches = [watch('friend', 81, true), watch('stranger', 81, false)];
    await real.kill(first);
    t.same(await reached(), changed, 'without a Felix');
    const streams = async () =>
      (JSON.parse(await lab.node.debug('/debug/sync')) as { sync: { felix: FelixReport } }).sync.felix;
    const before = await streams();
    const second = real.start();
    await waitFor(
      async () => {
        const { streams: count, state } = await streams();
        return count > before.streams && state.startsWith('Felix has told everything');
      },
      60_000,
      () => `the next Felix has not told everything: ${real.said.slice(-2000)}`,
    );
    t.same(await reached(), changed, 'with the next');
    over = true;
    await Promise.all(watches);
    t.comment(JSON.stringify(asked));
    t.ok(asked.friend > 3 && asked.stranger > 3);
    t.same(wrong, [], 'no verdict has changed meanwhile');

    await real.kill(second);
    real.put(storedFor(lab, 80));
    t.same(await reached(), changed, 'an object that is changed while there is no Felix');
    real.start();
    await lab.until(true, friend, 80, 60_000);
    t.same(await reached(), { ...closed, 'friend 80': true, 'friend 81': false }, 'counts when there is one');
  },
);

t.test('an adopted VPP: what it has of policies stays, and what Felix says changes it', real(), async (t) => {
  const lab = await new Lab().start(t);
  const { friend, stranger, server } = lab;
  lab.snapshot();
  await lab.untilEnforced();
  await lab.node.kill('SIGKILL');
  // What no dump shows is not known any more.
  rmSync(join(lab.node.config.paths.run_dir, 'vpp-objects.jsonl'));
  await lab.node.restart();
  t.same(await lab.matrix(), expected, 'nothing is closed, and nothing opens');
  t.ok(await lab.nodeReaches(80));

  lab.snapshot();
  await lab.untilEnforced();
  lab.felix!.say(lets('web', 81, 's:friends'));
  await lab.until(true, friend, 81);
  await lab.until(false, friend, 80);
  t.notOk(await lab.reaches(stranger, 81), 'a policy that is changed');
  lab.felix!.say(set('s:friends', [stranger.ip4, stranger.ip6]));
  await lab.until(true, stranger, 81);
  t.notOk(await lab.reaches(friend, 81), 'a set that is changed');
  lab.felix!.say(endpoint(server), { case: 'activePolicyRemove', value: { id: policyId('web') } });
  await lab.until(true, friend, 80);
  t.ok(await lab.reaches(stranger, 81), 'a policy that is removed');
  const id = { orchestratorId: 'k8s', workloadId: `default/${server.name}`, endpointId: 'eth0' };
  lab.felix!.say({ case: 'workloadEndpointRemove', value: { id } });
  await lab.until(false, friend, 80);
  t.notOk(await lab.reaches(stranger, 81), 'a pod that Felix does not speak of any more');
  t.ok(await lab.nodeReaches(80), 'is open to its node');
});

t.test('VPP is replaced under flows that do not pause: none is denied by it', real(), async (t) => {
  const lab = await new Lab().start(t);
  // So much that VPP would have the pods' interfaces before their policies.
  const others = Array.from({ length: 100 }, (_, n) => n);
  const members = (n: number) => Array.from({ length: 100 }, (_, m) => `172.16.${n}.${m}`);
  lab.snapshot(
    ...others.flatMap((n) => [set(`s:${n}`, members(n)), lets(`other-${n}`, 1000 + n, `s:${n}`)]),
    endpoint(lab.server, ['web', ...others.map((n) => `other-${n}`)]),
  );
  await lab.untilEnforced();
  const { traffic, friend, stranger, server } = lab;
  const probes = [traffic.probe(friend.name, server.ip4), traffic.probe(friend.name, server.ip6)];
  const intruder = traffic.probe(stranger.name, server.ip4);
  await Promise.all(probes.map((probe) => probe.untilAnswered(2000)));
  let over = false;
  const unanswered: number[] = [];
  const began = performance.now();
  const connects: Promise<void>[] = [];
  const connecting = (async () => {
    for (; !over; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const at_ms = Math.round(performance.now() - began);
      connects.push(
        lab.reaches(friend, 80, 'ip4', 10_000).then((passed) => {
          if (!passed) unanswered.push(at_ms);
        }),
      );
    }
  })();
  const old = lab.node.vppPid()!;
  process.kill(old, 'SIGKILL');
  const killed_ms = performance.now();
  const datagrams = (async () => {
    const one = { count: 1, wait_ms: 20, source_port: 40_000 };
    while (!over) {
      const { answered } = await traffic.ask(friend.name, server.ip4, 80, one);
      if (answered > 0 && lab.node.vppPid() !== old) return Math.round(performance.now() - killed_ms);
    }
    return undefined;
  })();
  await lab.node.untilOtherVpp(old);
  const back = probes.map(async (probe) => {
    const asked = performance.now();
    return Math.round(asked - killed_ms + (await probe.untilAnswered(10_000)));
  });
  const [icmp4, icmp6] = await Promise.all(back);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  over = true;
  await connecting;
  await Promise.all(connects);
  const udp = await datagrams;
  t.comment(`ms from VPP's end: ICMP ${icmp4}, ICMPv6 ${icmp6}, UDP from one port ${udp}`);
  t.ok(udp !== undefined, 'UDP from a fixed port');
  t.same(unanswered, [], `of ${connects.length} connections, when each began that came to nothing, in ms`);
  for (const probe of probes) await probe.stop();
  t.equal((await intruder.stop()).received, 0, 'nor is anybody let in by it');
  t.same(await lab.matrix(), expected);
});

t.test('while policies change, who is always let in is, and who never is is not', real(), async (t) => {
  const lab = await new Lab().start(t);
  lab.snapshot();
  await lab.untilEnforced();
  let failed = 0;
  let passed = 0;
  let tries = 0;
  let over = false;
  const client = async (): Promise<void> => {
    while (!over) {
      if (!(await lab.reaches(lab.friend, 80, 'ip4', 3000))) failed += 1;
      tries += 1;
    }
  };
  const intruder = async (): Promise<void> => {
    while (!over) if (await lab.reaches(lab.stranger, 80, 'ip4', 200)) passed += 1;
  };
  const clients = [client(), intruder()];
  for (let change = 0; change < 1000; change += 1) {
    lab.felix!.say(
      change % 2 === 0
        ? set('s:more', [`10.99.0.${change % 200}`])
        : lets('other', 1000 + change, 's:friends'),
      change % 3 === 0
        ? endpoint(lab.server, change % 2 === 0 ? ['web'] : ['web', 'other'])
        : lets('web', 80, 's:friends'),
      endpoint(lab.stranger, change % 5 === 0 ? ['other'] : []),
    );
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  over = true;
  await Promise.all(clients);
  t.ok(tries > 10, `${tries} connections`);
  t.equal(failed, 0, 'refused although always allowed');
  t.equal(passed, 0, 'passed although never allowed');
});
