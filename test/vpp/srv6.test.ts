/** SRv6 between nodes on real VPPs and real GoBGPs: what goes by it, what is seen on the wire, and what is left of a node that is gone. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { blocksOf, kubernetesNode } from '../../lab/k8s/calico-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { type NodeSite, router } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import { LinuxHost } from '../../src/host/netlink/linux-host.js';
import { listenToPackets } from '../../src/host/packet-socket.js';

const gobgpd = '/usr/bin/gobgpd';
const found = findRealVpp();
const no_netns = canUseNetns();
const no_gobgpd = existsSync(gobgpd) ? undefined : `needs ${gobgpd}`;
const skip = found.usable ? (no_netns ?? no_gobgpd) : found.why;
const real = skip === undefined ? {} : { skip };

type Node = RunningNode<NodeSite>;
const families = ['ip4', 'ip6'] as const;
const podOf = ({ topology }: Node): Pod => topology.pods[0]!;
const settle_ms = 60_000;

const environment = {
  CALICOVPP_ROUTE_SOURCE: 'bgp',
  CALICOVPP_GOBGPD_BINARY: gobgpd,
  CALICOVPP_FEATURE_GATES: JSON.stringify({ srv6Enabled: true }),
  CALICOVPP_SRV6: JSON.stringify({ localsidPool: 'fcff::/48', policyPool: 'cafe::/118' }),
};

async function start(test: Test): Promise<LabCluster> {
  if (!found.usable) throw new Error(found.why);
  const cluster = await LabCluster.start({ vpp: found, environment });
  test.teardown(() => cluster.close());
  return cluster;
}

async function until(what: () => Promise<unknown>, named: string): Promise<void> {
  const deadline = performance.now() + settle_ms * patience;
  for (;;) {
    const answer = await what();
    if (answer === true) return;
    if (performance.now() > deadline) throw new Error(`${named}: ${JSON.stringify(answer)}`);
    await sleep(50);
  }
}

const hostOf = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

/** What a node is to steer for another one. */
const steeredTo = ({ topology }: Node): readonly string[] =>
  families.flatMap((family) => [topology.blocks[family], hostOf(topology.node[family])]).sort();

async function untilSteered(node: Node, others: readonly Node[]): Promise<void> {
  await until(async () => {
    const { steered } = await node.segments();
    const wanted = others.flatMap(steeredTo).sort();
    return JSON.stringify(Object.keys(steered).sort()) === JSON.stringify(wanted) || steered;
  }, `${node.topology.name} steers`);
}

async function reach(test: Test, cluster: LabCluster, from: Node, to: Node, named: string): Promise<void> {
  const { traffic } = cluster;
  const [near, far] = [podOf(from), podOf(to)];
  for (const family of families) {
    const what = `${named}, ${family}`;
    test.equal(await traffic.ping(near.name, far[family]), 3, `${what}: echo`);
    const transfer = await traffic.tcp(near.name, far.name, far[family], { bytes: 1_000_000 });
    test.match(transfer, { whole: true, receipt: { peer: near[family] } }, `${what}: TCP`);
    test.comment(`${what}: ${transfer.mbit_s} Mbit/s`);
    test.match(await traffic.udp(near.name, far.name, far[family]), { answered: 5 }, `${what}: UDP`);
  }
}

/** Counts packets between pods that pass a node's cable as they are, and those that are wrapped in IPv6. */
function onTheWire(cluster: LabCluster, { name }: NodeSite) {
  const netns = cluster.nodes.lab.namespace(router);
  const host = new LinuxHost();
  const namespace = host.open(netns);
  const link = namespace.link(name)!.index;
  namespace.close();
  const counts = { clear: 0, wrapped: 0 };
  const listener = listenToPackets(
    { netns, id: host.identify(netns)!, link, packet_bytes: 64 },
    ({ bytes }) => {
      const type = (bytes[12]! << 8) | bytes[13]!;
      // 10.44.0.0/16 and fd44::/16 have all pods, fcff::/16 all SIDs.
      const ends = type === 0x0800 ? [26, 30] : type === 0x86dd ? [22, 38] : [];
      const start = type === 0x0800 ? [10, 44] : [0xfd, 0x44];
      if (ends.length > 0 && ends.every((at) => bytes[at] === start[0] && bytes[at + 1] === start[1]))
        counts.clear += 1;
      if (type === 0x86dd && bytes[38] === 0xfc && bytes[39] === 0xff) counts.wrapped += 1;
    },
    () => undefined,
  );
  return { counts, close: () => listener.close() };
}

t.test('pods of two nodes by SRv6', real, async (t) => {
  const cluster = await start(t);
  const [a, b] = cluster.running as [Node, Node];
  await untilSteered(a, [b]);
  await untilSteered(b, [a]);
  console.log(JSON.stringify(await a.segments(), undefined, 1));
  console.log(await a.cli('show ip6 fib fcff::/48'));
  const wire = onTheWire(cluster, a.topology);
  await reach(t, cluster, a, b, 'at first');
  await reach(t, cluster, b, a, 'at first, back');
  console.log(JSON.stringify(wire.counts));
  console.log(await a.debug('/debug/sync'));
  wire.close();
});
