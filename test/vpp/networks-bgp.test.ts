/** Networks between nodes on real VPPs and real GoBGPs: addresses that no IPAM of Calico's has given, both families, and one network by uplinks of its own. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { network } from '../../lab/k8s/calico-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import type { NodeSite } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, waitFor } from '../../lab/running-node.js';
import { networkTables } from '../../src/desired/tables.js';
import { needs } from '../kit/needs.js';

const gobgpd = '/usr/bin/gobgpd';
const found = findRealVpp();
const no_gobgpd = existsSync(gobgpd) ? undefined : `needs ${gobgpd}`;
const skip = found.usable ? (canUseNetns() ?? no_gobgpd) : found.why;
const real = needs(skip);

type Node = RunningNode<NodeSite>;
const settle_ms = 60_000 * patience;
const red = { name: 'red', vni: 70_000 };
/** Its packets go by the second uplinks. */
const green = { name: 'green', vni: 70_001 };

const uplink = (interfaceName: string, more: object) => ({
  interfaceName,
  vppDriver: 'af_packet',
  rxqsz: 256,
  txqsz: 256,
  ...more,
});
const environment = {
  CALICOVPP_ROUTE_SOURCE: 'bgp',
  CALICOVPP_GOBGPD_BINARY: gobgpd,
  CALICOVPP_FEATURE_GATES: JSON.stringify({ multinetEnabled: true }),
  CALICOVPP_INTERFACES: JSON.stringify({
    uplinkInterfaces: [uplink('eth0', { isMain: true }), uplink('eth1', { physicalNetworkName: 'second' })],
  }),
};

/** Alike in both networks. */
const addressesOf = ({ topology: { name } }: Node) => ({
  ip4: `10.77.0.${name.slice(1)}5`,
  ip6: `fd77::${name.slice(1)}:5`,
});
const families = ['ip4', 'ip6'] as const;

t.test('addresses that BGP tells', real(), async (t) => {
  if (!found.usable) return;
  const cluster = await LabCluster.start({
    vpp: found,
    environment,
    pods: 2,
    two_uplinks: true,
    objects: [
      network('red', { vni: red.vni, range: '10.77.0.0/16' }),
      network('green', { vni: green.vni, range: '10.77.0.0/16', physicalNetworkName: 'second' }),
    ],
  });
  t.teardown(() => cluster.close());
  const [a, b] = cluster.running as [Node, Node];
  const { traffic } = cluster;
  const podOf = ({ topology }: Node, of: typeof red) => topology.pods[of === red ? 0 : 1]!;
  const add = (node: Node, of: typeof red): Promise<number> => {
    const { ip4, ip6 } = addressesOf(node);
    return node.add(podOf(node, of), {
      ifname: 'net1',
      network_name: of.name,
      ips: [`${ip4}/24`, `${ip6}/64`],
      routes: ['10.77.0.0/16', 'fd77::/64'],
    });
  };
  for (const node of [a, b]) for (const of of [red, green]) await add(node, of);

  /** What a node has for the other one. */
  const ways = (other: Node, of: typeof red): Record<string, string> =>
    Object.fromEntries(
      families.map((family) => {
        const end = of === red ? other.topology.node[family] : other.topology.second![family];
        const length = family === 'ip4' ? 32 : 128;
        return [
          `${addressesOf(other)[family]}/${length} of table ${networkTables(of.vni).main}`,
          `vxlan-${of.vni}-${end}`,
        ];
      }),
    );
  const leads = async (node: Node, expected: Record<string, string>): Promise<void> => {
    let own: Record<string, string> = {};
    const text = (of: Record<string, string>): string => JSON.stringify(Object.entries(of).sort());
    await waitFor(
      async () => {
        const { routes } = await node.ways();
        own = Object.fromEntries(Object.entries(routes).filter(([key]) => /of table \d{4,}/.test(key)));
        return text(own) === text(expected);
      },
      settle_ms,
      () => `${node.topology.name} has ${text(own)} in place of ${text(expected)}`,
    );
  };
  const reach = async (said: string): Promise<void> => {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      await leads(from, { ...ways(to, red), ...ways(to, green) });
      for (const of of [red, green])
        for (const family of families) {
          const [near, far] = [podOf(from, of), podOf(to, of)];
          const address = addressesOf(to)[family];
          await traffic.untilReachable(near.name, address, settle_ms);
          t.match(
            await traffic.tcp(near.name, far.name, address, { bytes: 1_000_000 }),
            { whole: true, receipt: { peer: addressesOf(from)[family] } },
            `${said}: ${of.name}, ${from.topology.name} to ${to.topology.name}, ${family}`,
          );
        }
    }
  };
  await reach('at first');

  await t.test('a pod goes, and comes back', async () => {
    await b.del(podOf(b, red), { ifname: 'net1' });
    await leads(a, ways(b, green));
    await add(b, red);
    await leads(a, { ...ways(b, red), ...ways(b, green) });
  });

  await t.test('VPP of a node is killed, then its process', async () => {
    const pid = b.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await b.untilOtherVpp(pid);
    await b.untilReady();
    await reach('another VPP');
    await b.kill('SIGKILL');
    await b.restart();
    await reach('another process');
  });

  for (const node of [a, b]) t.strictSame(await node.stop(), { code: 0, signal: null });
});
