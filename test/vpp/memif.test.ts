/** Memifs of pods on a real VPP: another VPP in the pod's namespace speaks memif, and packets of both families go by it. */
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { MemifClient, type MemifClientOptions } from '../../lab/memif-client.js';
import { findStranger, molest, squat } from '../../lab/memif-stranger.js';
import { canUseNetns } from '../../lab/netns.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode, waitFor } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { needs } from '../kit/needs.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = needs(reason);

/** Behind the memif of p1. */
const m1 = 'm1';
const families = ['ip4', 'ip6'] as const;
/** The first two lead to the memif, the others to the tun. */
const port = { memif_tcp: 5001, memif_udp: 5300, tun_tcp: 6001, tun_udp: 53 };
const spec = 'cni.projectcalico.org/vppExtraMemifSpec';
const ports = { 'cni.projectcalico.org/vppExtraMemifPorts': 'TCP:5000-5999,udp:5300' };

interface Started {
  readonly topology: Topology;
  readonly traffic: Traffic;
  readonly node: RunningNode;
  readonly p1: Pod;
  readonly p2: Pod;
}

async function start(test: Test): Promise<Started> {
  if (!vpp.usable) throw new Error(vpp.why);
  const topology = new Topology();
  test.teardown(() => topology.close());
  const traffic = new Traffic(topology);
  test.teardown(() => traffic.close());
  const environment = { CALICOVPP_FEATURE_GATES: '{"memifEnabled": true}' };
  const node = await startNode(topology, { vpp, environment });
  test.teardown(() => node.close());
  const [p1, p2] = topology.pods as [Pod, Pod];
  return { topology, traffic, node, p1, p2 };
}

async function client(test: Test, started: Started, options: MemifClientOptions): Promise<MemifClient> {
  if (!vpp.usable) throw new Error(vpp.why);
  const one = await MemifClient.start(vpp, started.topology, started.p1, m1, options);
  test.teardown(() => one.stop());
  await connected(started, one);
  return one;
}

/** Both ends say so: until VPP has raised the link, too, it drops what is the memif's. */
async function connected({ node }: Started, one: MemifClient): Promise<void> {
  await one.untilConnected();
  await waitFor(
    async () => {
      const split = await node.cli('show pbl client');
      return split.includes('memif') && !split.includes('dpo-drop');
    },
    30_000 * patience,
    () => 'VPP leads nothing to the memif',
  );
}

/** Both sides of the pod are reached by others, and reach them, each by its own way. */
async function isSplit(test: Test, { traffic, p1, p2, topology }: Started, when: string): Promise<void> {
  for (const family of families) {
    const target = p1[family];
    const named = `${family}, ${when}`;
    const seen = { answered: 5, seen_as: [p2[family]] };
    test.match(
      await traffic.udp('p2', m1, target, { port: port.memif_udp }),
      { ...seen, answered_by: [m1] },
      `UDP to a port of the memif, ${named}`,
    );
    test.match(
      await traffic.udp('p2', 'p1', target, { port: port.tun_udp }),
      { ...seen, answered_by: ['p1'] },
      `UDP to another port, ${named}`,
    );
    test.match(
      await traffic.tcp('p2', m1, target, { port: port.memif_tcp, bytes: 200_000 }),
      { whole: true, receipt: { peer: p2[family] } },
      `TCP to a port of the memif, ${named}`,
    );
    test.match(
      await traffic.tcp('p2', 'p1', target, { port: port.tun_tcp, bytes: 200_000 }),
      { whole: true, receipt: { peer: p2[family] } },
      `TCP to another port, ${named}`,
    );
    const outside = topology.outside[family]!;
    test.match(
      await traffic.udp('outside', m1, target, { port: port.memif_udp }),
      { answered: 5, seen_as: [outside], answered_by: [m1] },
      `UDP from outside to a port of the memif, ${named}`,
    );
    test.equal(await traffic.ping('p2', target), 3, `echo by the tun, ${named}`);
  }
}

/** Of VPP, whatever it was made by. */
async function left({ node }: Started): Promise<string> {
  const [memifs, clients] = [await node.cli('show memif'), await node.cli('show pbl client')];
  return (
    [...memifs.matchAll(/abstract:\S+|interface memif\S+/g)].map(([text]) => text).join() + clients.trim()
  );
}

for (const mode of ['ip', 'ethernet'] as const) {
  t.test(`a memif that speaks ${mode}: ports are split between it and the device`, real(), async (t) => {
    const started = await start(t);
    const { node, p1, p2, traffic, topology } = started;
    const annotations = { ...ports, ...(mode === 'ip' && { [spec]: '{"isl3": true}' }) };
    await node.add(p1, { annotations });
    await node.add(p2);
    t.strictSame(await node.differences(), [], 'without a program VPP holds what it should');
    const one = await client(t, started, { mode });
    await isSplit(t, started, 'at first');
    t.strictSame(await node.differences(), [], 'with one, too');

    for (const family of families) {
      t.match(
        await traffic.udp(m1, 'p2', p2[family], { port: 5400 }),
        { answered: 0 },
        `an answer to a port that is none of the memif's goes to the device, ${family}`,
      );
      t.strictSame(
        await traffic.senders('p2', 5400),
        [p1[family]],
        `what the program sends arrives under the pod's address, ${family}`,
      );
      const foreign = family === 'ip4' ? '10.78.0.6' : 'fd78::66';
      topology.lab.run(m1, 'ip', 'addr', 'add', foreign, 'dev', 'lo', ...(family === 'ip6' ? ['nodad'] : []));
      await traffic.udp(m1, 'p2', p2[family], { port: 5401, source: foreign, count: 2, wait_ms: 50 });
      await traffic.udp(m1, 'p2', p2[family], { port: 5401, count: 1 });
      t.strictSame(await traffic.senders('p2', 5401), [p1[family]], `and under no other, ${family}`);
    }

    await node.add(p1, { annotations });
    await isSplit(t, started, 'after the ADD was repeated');

    await one.stop();
    const next = await client(t, started, { mode, queues: 4, ring_size: 256 });
    await isSplit(t, started, 'after the program went and another came, with other queues');

    await node.kill('SIGKILL');
    await node.restart();
    t.strictSame(await node.differences(), [], 'a process that begins anew finds what it should');
    t.ok(await next.isConnected(), 'the program was not disturbed');
    await isSplit(t, started, 'after the death of the process');

    const old = node.vppPid()!;
    process.kill(old, 'SIGKILL');
    await node.untilOtherVpp(old);
    await node.untilConverged();
    await connected(started, next);
    await isSplit(t, started, 'after the death of VPP');

    const listening = (): string => topology.lab.run('p1', 'cat', '/proc/net/unix');
    t.match(listening(), /@vpp\/memif-eth0$/m, 'VPP listens in the pod');
    await node.del(p1);
    t.equal(await left(started), '', 'DEL leaves no interface, no socket and no split');
    t.notMatch(
      topology.lab.run('p1', 'cat', '/proc/net/unix'),
      /@vpp\/memif-eth0/,
      'nobody listens in the pod',
    );
    t.strictSame(await node.differences(), [], 'and nothing else');
    await node.add(p1);
    t.equal(await left(started), '', 'without the annotation there is none');
    t.equal(await traffic.ping('p2', p1.ip4), 3, 'and all leads to the device');
    t.strictSame(await node.stop(), { code: 0, signal: null });
  });
}

const stranger = vpp.usable ? findStranger() : { why: vpp.why };
const no_stranger = reason ?? ('why' in stranger ? stranger.why : undefined);
const with_stranger = needs(no_stranger);

t.test('a program that means no good beside one that does not', with_stranger(), async (t) => {
  if ('why' in stranger) throw new Error(stranger.why);
  const started = await start(t);
  const { node, p1, p2, topology } = started;
  await node.add(p1, { annotations: { ...ports, [spec]: '{"isl3": true}' } });
  await node.add(p2);
  const one = await client(t, started, { mode: 'ip' });
  const pid = node.vppPid();
  const does = (...[what, times]: [Parameters<typeof molest>[3], number]) =>
    molest(topology, stranger, 'p1', what, times);
  does('close', 10);
  does('garbage', 3);
  t.same(does('introduce', 2), ['refused', 'refused'], 'a second one is refused');
  t.ok(does('queues', 1).length > 0, 'whatever it has');
  does('nowhere', 1);
  t.ok(await one.isConnected(), 'the first is not disturbed');
  t.equal(node.vppPid(), pid, 'nor VPP');
  await isSplit(t, started, 'after all that');
  t.strictSame(await node.differences(), []);
});

t.test("a process of the pod that has the socket's name", with_stranger(), async (t) => {
  if ('why' in stranger) throw new Error(stranger.why);
  const started = await start(t);
  const { node, p1, p2, traffic, topology } = started;
  const annotations = { ...ports, [spec]: '{"isl3": true}' };
  const squatter = await squat(topology, stranger, 'p1');
  await node.add(p2);
  for (let time = 0; time < 8; time += 1)
    await t.rejects(node.add(p1, { annotations }), /memif_create_v2/, 'the pod is refused');
  await t.rejects(
    node.add(p1, { annotations }),
    /has failed 8 times at a socket for .*see which process of the pod has the name/,
    'VPP is not asked without end',
  );
  t.notMatch(await node.cli('show memif'), /interface memif/, 'no interface is left');
  t.strictSame(await node.differences(), []);
  await node.add(p1);
  t.equal(await traffic.ping('p2', p1.ip4), 3, 'without a memif it is connected');
  const gone = once(squatter, 'exit');
  squatter.kill('SIGKILL');
  await gone;
});

t.test('VPP dies of what a program sends it, and nobody else is suspected', with_stranger(), async (t) => {
  if ('why' in stranger) throw new Error(stranger.why);
  const started = await start(t);
  const { node, p1, p2, traffic, topology } = started;
  const annotations = { ...ports, [spec]: '{"isl3": true}' };
  await node.add(p1, { annotations });
  const first = node.vppPid();
  t.same(molest(topology, stranger, 'p1', 'queues'), ['refused'], '200 queues of which none works');
  t.equal(node.vppPid(), first);
  for (const what of ['nowhere', 'hello'] as const) {
    const old = node.vppPid()!;
    // Just before: what VPP answered last would be suspected.
    await node.add(p2);
    molest(topology, stranger, 'p1', what, 8);
    await node.untilOtherVpp(old);
    await node.untilConverged();
    t.match(node.lastWords(40), /VPP died.*of what a program at a memif has sent it/, what);
    t.strictSame((await node.vppApi()).vpp.quarantined, [], `${what}: nobody is convicted`);
    t.equal(await traffic.ping('p1', p2.ip4), 3, `${what}: the pod that came just before is there`);
    await node.del(p2);
  }
  await node.add(p2);
  await client(t, started, { mode: 'ip' });
  await isSplit(t, started, 'and a program is taken again');
});
