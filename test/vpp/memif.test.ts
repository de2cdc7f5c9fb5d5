/** Memifs of pods on a real VPP: another VPP in the pod's namespace speaks memif, and packets of both families go by it. */
import t, { type Test } from 'tap';
import { MemifClient, type MemifClientOptions } from '../../lab/memif-client.js';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode, waitFor } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = reason === undefined ? {} : { skip: reason };

/** Behind the memif of p1. */
const m1 = 'm1';
const families = ['ip4', 'ip6'] as const;
/** The first two lead to the memif, the others to the tun. */
const port = { memif_tcp: 5001, memif_udp: 5300, tun_tcp: 6001, tun_udp: 53 };
const ports = { 'cni.projectcalico.org/vppExtraMemifPorts': 'TCP:5000-5999,udp:5300' };

interface Started {
  readonly topology: Topology;
  readonly traffic: Traffic;
  readonly node: RunningNode;
  readonly p1: Pod;
  readonly p2: Pod;
}

async function start(test: Test, environment: Readonly<Record<string, string>> = {}): Promise<Started> {
  if (!vpp.usable) throw new Error(vpp.why);
  const topology = new Topology();
  test.teardown(() => topology.close());
  const traffic = new Traffic(topology);
  test.teardown(() => traffic.close());
  const node = await startNode(topology, { vpp, environment });
  test.teardown(() => node.close());
  const [p1, p2] = topology.pods as [Pod, Pod];
  return { topology, traffic, node, p1, p2 };
}

async function client(
  test: Test,
  { topology, p1 }: Started,
  options: MemifClientOptions,
): Promise<MemifClient> {
  if (!vpp.usable) throw new Error(vpp.why);
  const one = await MemifClient.start(vpp, topology, p1, m1, options);
  test.teardown(() => one.stop());
  await connected(one);
  return one;
}

async function connected(one: MemifClient): Promise<void> {
  await waitFor(() => one.isConnected(), 60_000, () => 'the memif is not connected');
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

t.test('thin', real, async (t) => {
  const started = await start(t);
  const { node, p1, p2 } = started;
  await node.add(p1, { annotations: { ...ports, 'cni.projectcalico.org/vppExtraMemifSpec': '{"isl3": true}' } });
  await node.add(p2);
  t.comment(await node.cli('show pbl client'));
  t.comment(await node.cli('show memif'));
  t.comment(JSON.stringify(await node.differences()));
  const one = await client(t, started, { mode: 'ip' });
  t.comment(await node.cli('show memif'));
  t.comment(await one.command('show memif'));
  await isSplit(t, started, 'thin');
  t.comment(await node.cli('show pbl client'));
  t.comment(await node.cli('show errors'));
  t.strictSame(await node.differences(), []);
});
