/**
 * Networks beside the default one, on two nodes: two of them with the same range, and pods with the same addresses. On real VPPs with packets; where there
 * is none, stand-ins are told the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { attachment, attachmentConfig, network } from '../../lab/k8s/calico-objects.js';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import type { NodeSite } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, waitFor } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import { networkTables } from '../../src/desired/tables.js';
import { needs } from '../kit/needs.js';

const found = findRealVpp();
const skip = found.usable ? canUseNetns() : found.why;
const real = needs(skip);

type Node = RunningNode<NodeSite>;

const settle_ms = 30_000 * patience;
const red = { name: 'red', vni: 4097 };
const blue = { name: 'blue', vni: 4098 };
/** The same for both. */
const range = '10.77.0.0/16';
const environment = { CALICOVPP_FEATURE_GATES: '{"multinetEnabled": true}' };
const blockOf = ({ topology: { name } }: Node): string => `10.77.${name.slice(1)}.0/26`;
/** Of the pod of either network. */
const addressOf = ({ topology: { name } }: Node): string => `10.77.${name.slice(1)}.5`;
const podOf = ({ topology }: Node, of: typeof red): Pod => topology.pods[of === red ? 0 : 1]!;

const networkObject = ({ name, vni }: typeof red, spec: object = {}) =>
  network(name, { vni, range, ...spec });

async function start(test: Test, options: Partial<LabClusterOptions> = {}): Promise<LabCluster> {
  const objects = [
    networkObject(red),
    networkObject(blue),
    attachment('red', attachmentConfig('red')),
    attachment('blue', attachmentConfig('blue')),
  ];
  if (!found.usable) throw new Error(found.why);
  const cluster = await LabCluster.start({ vpp: found, pods: 3, environment, objects, ...options });
  test.teardown(() => cluster.close());
  for (const { topology } of cluster.running as Node[])
    await cluster.giveBlock(topology, `10.77.${topology.name.slice(1)}.0/26`);
  return cluster;
}

const attach = (node: Node, of: typeof red): Promise<number> =>
  node.add(podOf(node, of), { ifname: 'net1', network_name: of.name, ips: [`${addressOf(node)}/24`] });

/** What VPP of a node has for the other one in these networks. */
function ways(other: Node, networks: readonly (typeof red)[]): Record<string, string> {
  return Object.fromEntries(
    networks.map(({ vni }) => [
      `${blockOf(other)} of table ${networkTables(vni).main}`,
      `vxlan-${vni}-${other.topology.node.ip4}`,
    ]),
  );
}

/** Waits until that is all that it has in tables of networks. */
async function leads(node: Node, expected: Record<string, string>): Promise<unknown> {
  const deadline = performance.now() + settle_ms;
  for (;;) {
    const { routes } = await node.ways();
    const own = Object.fromEntries(
      Object.entries(routes).filter(([prefix]) => /of table \d{4,}/.test(prefix)),
    );
    if (JSON.stringify(Object.entries(own).sort()) === JSON.stringify(Object.entries(expected).sort()))
      return 'as expected';
    if (performance.now() > deadline) return own;
    await sleep(50);
  }
}

/** Waits until VPP has something of these networks, and of no others. */
async function has(node: Node, networks: readonly (typeof red)[]): Promise<void> {
  const wanted = networks.map(({ vni }) => vni).join();
  let there: ReadonlyMap<number, readonly string[]> = new Map();
  await waitFor(
    async () => {
      there = await node.networks();
      return [...there.keys()].sort().join() === wanted;
    },
    settle_ms,
    () => `VPP has ${JSON.stringify([...there])} in place of the networks ${wanted}`,
  );
}

/** Each reaches the pod of its own network, and sees its own address as sender's. */
async function reach(test: Test, cluster: LabCluster, from: Node, to: Node, of: typeof red, said: string) {
  const [near, far] = [podOf(from, of), podOf(to, of)];
  const address = addressOf(to);
  await cluster.traffic.untilReachable(near.name, address, settle_ms);
  const transfer = await cluster.traffic.tcp(near.name, far.name, address, { bytes: 3_000_000 });
  test.match(
    transfer,
    { whole: true, receipt: { peer: addressOf(from) } },
    `${said}: ${of.name}, ${from.topology.name} to ${to.topology.name}`,
  );
  test.comment(`${said}: ${of.name} ${transfer.mbit_s} Mbit/s`);
}

t.test('two networks with the same range on two nodes', real(), async (t) => {
  const cluster = await start(t);
  const [a, b] = cluster.running as [Node, Node];
  const networks = [red, blue] as const;
  for (const node of [a, b]) for (const of of networks) await attach(node, of);
  const all_lead = async (said: string): Promise<void> => {
    t.equal(await leads(a, ways(b, networks)), 'as expected', said);
    t.equal(await leads(b, ways(a, networks)), 'as expected', said);
    for (const of of networks) {
      await reach(t, cluster, a, b, of, said);
      await reach(t, cluster, b, a, of, said);
    }
  };
  await all_lead('at first');

  await t.test('nobody else is reached', async (t) => {
    const { traffic } = cluster;
    const [red_pod, blue_pod, other] = a.topology.pods as [Pod, Pod, Pod];
    t.equal(await traffic.ping(other.name, addressOf(b)), 0, 'by a pod of the default network');
    // The red pod of b does not listen where the blue one does.
    const listening = await traffic.tcp(blue_pod.name, podOf(b, blue).name, addressOf(b), {
      port: 5111,
      bytes: 1000,
    });
    t.match(listening, { whole: true });
    await t.rejects(
      traffic
        .tcp(red_pod.name, podOf(a, red).name, addressOf(b), { port: 5111, listen_port: 5112, bytes: 1000 })
        .then((transfer) => {
          if (!transfer.whole) throw new Error('not reached');
        }),
      'by one of the other network with the same addresses',
    );
    t.equal(
      await traffic.ping(red_pod.name, b.topology.node.ip4),
      3,
      'the pod has its default network as ever',
    );
    const foreign = '10.77.1.44';
    cluster.nodes.lab.run(red_pod.name, 'ip', 'addr', 'add', `${foreign}/32`, 'dev', 'lo');
    const far = podOf(b, red).name;
    await traffic.udp(red_pod.name, far, addressOf(b), {
      port: 5401,
      source: foreign,
      count: 2,
      wait_ms: 100,
    });
    t.match(await traffic.udp(red_pod.name, far, addressOf(b), { port: 5401, count: 1 }), { answered: 1 });
    t.strictSame(await traffic.senders(far, 5401), [addressOf(a)], 'nor by one under an address of others');
    cluster.nodes.lab.run(red_pod.name, 'ip', 'addr', 'del', `${foreign}/32`, 'dev', 'lo');
  });

  await t.test('an address that another pod of the network has', async (t) => {
    const third = a.topology.pods[2]!;
    await t.rejects(
      a.add(third, { ifname: 'net1', network_name: 'red', ips: [`${addressOf(a)}/24`] }),
      /is that of pod default\/n1p1 net1/,
    );
  });

  await t.test('an ADD again', async (t) => {
    await attach(a, red);
    await reach(t, cluster, a, b, red, 'again');
  });

  await t.test('its VPP is killed', async () => {
    const pid = b.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await b.untilOtherVpp(pid);
    await b.untilReady();
    await all_lead('another VPP');
  });

  await t.test('its process is killed, and started again', async (t) => {
    const pid = b.vppPid();
    await b.kill('SIGKILL');
    await b.restart();
    await all_lead('another process');
    t.equal(b.vppPid(), pid);
  });

  await t.test('the API server is gone while the process is started again', async (t) => {
    await cluster.server.does('stop');
    await b.kill('SIGKILL');
    await b.restart();
    await cluster.traffic.untilReachable(podOf(a, red).name, addressOf(b), settle_ms);
    await sleep(1000);
    t.equal(await cluster.traffic.ping(podOf(a, red).name, addressOf(b)), 3, 'what VPP has stays');
    await cluster.server.does('start');
    await all_lead('the API server is back');
  });

  await t.test('a network is deleted under its pods, and comes back with another VNI', async (t) => {
    await cluster.server.remove(networkObject(red));
    t.equal(await leads(a, ways(b, [blue])), 'as expected', 'no way to it is left');
    t.equal(await leads(b, ways(a, [blue])), 'as expected');
    for (const node of [a, b]) await has(node, [blue]);
    t.match(await a.debug('/debug/sync'), /pod default\/n1p1 net1: the network red is not there/);
    t.equal(await cluster.traffic.ping(podOf(a, red).name, addressOf(b)), 0, 'its pods reach nothing');
    await reach(t, cluster, a, b, blue, 'beside it');
    const again = { name: 'red', vni: 5097 };
    await cluster.server.put(networkObject(again));
    t.equal(await leads(a, ways(b, [again, blue])), 'as expected', 'another VNI');
    t.equal(await leads(b, ways(a, [again, blue])), 'as expected', 'another VNI');
    await reach(t, cluster, a, b, red, 'after it has come back');
    await cluster.server.put(networkObject(red));
    await all_lead('as at first');
  });

  await t.test('objects that are wrong are said so, and disturb nobody', async (t) => {
    const wrong = [
      network('second', { vni: red.vni, range: '10.88.0.0/16' }),
      network('nowhere', { vni: 99, physicalNetworkName: 'nothing' }),
      network('none', { range: 'x' }),
      attachment('broken', '{"plugins": ['),
      attachment('stray', attachmentConfig('green')),
    ];
    await cluster.server.put(...wrong);
    let said = '';
    await waitFor(
      async () => {
        said = await a.debug('/debug/sync');
        return ['second', 'nowhere', 'none', 'broken', 'stray'].every((name) =>
          said.includes(`default/${name}`),
        );
      },
      settle_ms,
      () => said,
    );
    for (const text of [
      /VNI 4097, which is that of Network default\/red/,
      /physical network nothing, which no uplink/,
      /vni: is missing/,
      /config: is no JSON/,
      /names the network green, which this node does not have/,
    ])
      t.match(said, text);
    await t.rejects(
      a.add(a.topology.pods[2]!, { ifname: 'net1', network_name: 'second', ips: ['10.88.0.1/24'] }),
      /the network second is not there/,
    );
    await all_lead('beside them');
    await cluster.server.remove(...wrong);
  });

  await t.test('pods go, and nothing of them is left', async (t) => {
    for (const node of [a, b]) {
      for (const of of networks) await node.del(podOf(node, of), { ifname: 'net1' });
      t.strictSame(await node.differences(), [], 'VPP holds what it should, and nothing else');
    }
    await cluster.server.remove(networkObject(red), networkObject(blue));
    for (const node of [a, b]) await has(node, []);
    for (const node of [a, b]) t.strictSame(await node.stop(), { code: 0, signal: null });
  });
});
