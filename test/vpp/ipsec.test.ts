/** IPsec between nodes on real VPPs. */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import type { NodeSite } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';

const found = findRealVpp();
const no_netns = canUseNetns();
const skip = found.usable ? no_netns : found.why;
const real = skip === undefined ? {} : { skip };

type Node = RunningNode<NodeSite>;
const families = ['ip4', 'ip6'] as const;
const podOf = ({ topology }: Node): Pod => topology.pods[0]!;
const settle_ms = 30_000;

const with_ipsec = (psk: string) => ({
  CALICOVPP_FEATURE_GATES: '{"ipsecEnabled": true}',
  CALICOVPP_IPSEC_IKEV2_PSK: psk,
});

async function start(test: Test, options: Omit<LabClusterOptions, 'vpp'> = {}): Promise<LabCluster> {
  if (!found.usable) throw new Error(found.why);
  const cluster = await LabCluster.start({ vpp: found, ...options });
  test.teardown(() => cluster.close());
  return cluster;
}

async function until(what: () => Promise<unknown>, named: string): Promise<void> {
  const deadline =
    performance.now() + (process.env.SETTLE ? Number(process.env.SETTLE) : settle_ms * patience);
  for (;;) {
    const answer = await what();
    if (answer === true) return;
    if (performance.now() > deadline) throw new Error(`${named}: ${JSON.stringify(answer)}`);
    await sleep(50);
  }
}

t.test('pods of two nodes by IPsec', real, async (t) => {
  const cluster = await start(t, { encapsulation: 'ipip', environment: with_ipsec('trial') });
  const [a, b] = cluster.running as [Node, Node];
  for (const node of [a, b]) await node.cli('trace add af-packet-input 100');
  const show = async () => {
    for (const node of [a, b])
      for (const cmd of ['show errors', 'show log', 'show trace max 200'])
        t.comment(`${node.topology.name} ${cmd}\n${await node.cli(cmd)}`);
  };
  try {
    await until(async () => {
      const sync = JSON.parse(await a.debug('/debug/sync')).sync.connectivity;
      return (
        (Object.values(sync.ipsec as object).length === 2 &&
          Object.values(sync.ipsec as object).every((s) => /^up/.test(s))) ||
        sync
      );
    }, 'up');
  } catch (e) {
    await show();
    throw e;
  }
  for (const family of families)
    t.equal(await cluster.traffic.ping(podOf(a).name, podOf(b)[family]), 3, family);
  await show();
});
