/**
 * Nodes of a cluster on real VPPs: their pods reach each other, whichever way the pools say, whatever happens to a node meanwhile. Routes
 * come from Calico's blocks; no daemon runs beside the nodes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ipPool, kubernetesNode } from '../../lab/k8s/calico-objects.js';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import type { NodeSite } from '../../lab/nodes.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import type { ProbeReport, Prober } from '../../lab/traffic.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = reason === undefined ? {} : { skip: reason };

t.setTimeout(280_000);

const families = ['ip4', 'ip6'] as const;
const settle_ms = 15_000;

async function start(test: Test, options: Omit<LabClusterOptions, 'vpp'> = {}): Promise<LabCluster> {
  if (!vpp.usable) throw new Error(vpp.why);
  const cluster = await LabCluster.start({ vpp, ...options });
  test.teardown(() => cluster.close());
  return cluster;
}

type Node = RunningNode<NodeSite>;
const podOf = ({ topology }: Node): Pod => topology.pods[0]!;

/** Waits until VPP leads as told; answers what it does otherwise in the end. */
async function leads(
  node: Node,
  expected: { readonly routes: Readonly<Record<string, string>>; readonly tunnels: readonly string[] },
  deadline_ms = settle_ms,
): Promise<unknown> {
  const deadline = performance.now() + deadline_ms;
  for (;;) {
    const { routes, tunnels } = await node.ways();
    const differs = [
      ...Object.entries(expected.routes).flatMap(([prefix, way]) =>
        routes[prefix] === way ? [] : `${prefix}: ${routes[prefix]} in place of ${way}`,
      ),
      ...Object.keys(routes).flatMap((prefix) =>
        prefix in expected.routes ? [] : `${prefix}: ${routes[prefix]} in place of nothing`,
      ),
      ...(tunnels.join() === expected.tunnels.join() ? [] : [`tunnels ${tunnels}`]),
    ];
    if (differs.length === 0 || performance.now() > deadline) return differs;
    await sleep(50);
  }
}

type How = 'flat' | 'ipip' | 'vxlan';

/** What VPP of a node has for the others, each reached in its way. */
function ways(node: Node, others: readonly (readonly [Node, How])[]) {
  const routes: Record<string, string> = {};
  const tunnels: string[] = [];
  for (const family of families) {
    routes[node.topology.blocks[family]] = 'drop';
    for (const [{ topology: other }, how] of others) {
      const dst = other.node[family];
      const tunnel = how === 'vxlan' ? `vxlan-4096-${dst}` : `ipip-${dst}`;
      routes[other.blocks[family]] = how === 'flat' ? dst : tunnel;
      if (how === 'flat') continue;
      routes[`${dst}/${family === 'ip4' ? 32 : 128} of table 2`] = tunnel;
      tunnels.push(tunnel);
    }
  }
  return { routes, tunnels: tunnels.sort() };
}

/** TCP and pings between the first pods of two nodes, and from a pod to the other node itself. */
async function reach(test: Test, cluster: LabCluster, from: Node, to: Node, named: string): Promise<void> {
  const { traffic } = cluster;
  const [near, far] = [podOf(from), podOf(to)];
  for (const family of families) {
    const what = `${named}, ${family}`;
    test.equal(await traffic.ping(near.name, far[family]), 3, `${what}: echo`);
    const transfer = await traffic.tcp(near.name, far.name, far[family], { bytes: 10_000_000 });
    test.match(
      transfer,
      { whole: true, receipt: { peer: near[family] } },
      `${what}: TCP, under the pod's own address`,
    );
    test.comment(`${what}: ${transfer.mbit_s} Mbit/s`);
    const node = await traffic.tcp(near.name, to.topology.name, to.topology.node[family], {
      bytes: 1_000_000,
    });
    test.match(node, { whole: true }, `${what}: a pod to the other node`);
  }
}

/** Pings of both families from one pod to the other, for as long as something happens. */
async function meanwhile(cluster: LabCluster, from: Pod, to: Pod, happens: () => Promise<unknown>) {
  const probers: readonly Prober[] = families.map((family) => cluster.traffic.probe(from.name, to[family]));
  try {
    await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
    await happens();
    await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
  } finally {
    // Ended in any case.
  }
  const [ip4, ip6] = await Promise.all(probers.map((prober) => prober.stop()));
  return { ip4, ip6 } as { readonly ip4: ProbeReport; readonly ip6: ProbeReport };
}

const told = (reports: { readonly ip4: ProbeReport; readonly ip6: ProbeReport }): string =>
  families
    .map((family) => {
      const { lost, sent, longest_gap_ms } = reports[family];
      return `${family} ${lost} of ${sent} lost, ${longest_gap_ms} ms at a time`;
    })
    .join('; ');

t.test('pods of two nodes, and the pools change their way while packets flow', real, async (t) => {
  const cluster = await start(t);
  const [a, b] = cluster.running as [Node, Node];
  const both: readonly (readonly [Node, Node])[] = [
    [a, b],
    [b, a],
  ];
  let now: How = 'flat';
  for (const [node, other] of both) t.strictSame(await leads(node, ways(node, [[other, now]])), [], now);
  await reach(t, cluster, a, b, now);
  for (const next of ['ipip', 'vxlan', 'flat', 'vxlan', 'ipip', 'flat'] as const) {
    const change = `from ${now} to ${next}`;
    const lost = await meanwhile(cluster, podOf(a), podOf(b), async () => {
      await cluster.setPools(next);
      for (const [node, other] of both)
        t.strictSame(await leads(node, ways(node, [[other, next]])), [], change);
    });
    t.comment(`${change}: ${told(lost)}`);
    for (const family of families)
      t.ok(lost[family].lost <= lost_in_change_max, `${change}, ${family}: ${lost[family].lost} lost`);
    await reach(t, cluster, a, b, next);
    await reach(t, cluster, b, a, `${next}, back`);
    now = next;
  }
  for (const node of [a, b]) {
    t.strictSame(await node.differences(), [], 'VPP holds what it should, and nothing else');
    t.strictSame(await node.stop(), { code: 0, signal: null });
  }
});

/** Pings, one every 10 ms: nodes hear of a change one after the other, and whoever comes first sends to a tunnel that is not there yet. */
const lost_in_change_max = 10;

for (const encapsulation of ['ipip', 'vxlan'] as const) {
  t.test(`three nodes in two subnets, ${encapsulation} between these alone`, real, async (t) => {
    const cluster = await start(t, { subnets: [0, 0, 1], encapsulation, across: 'CrossSubnet' });
    const [a, b, c] = cluster.running as [Node, Node, Node];
    t.strictSame(
      await leads(
        a,
        ways(a, [
          [b, 'flat'],
          [c, encapsulation],
        ]),
      ),
      [],
    );
    t.strictSame(
      await leads(
        b,
        ways(b, [
          [a, 'flat'],
          [c, encapsulation],
        ]),
      ),
      [],
    );
    t.strictSame(
      await leads(
        c,
        ways(c, [
          [a, encapsulation],
          [b, encapsulation],
        ]),
      ),
      [],
    );
    await reach(t, cluster, a, b, 'in a subnet');
    await reach(t, cluster, a, c, 'between subnets');
    await reach(t, cluster, c, b, 'and back');

    // A node goes, and comes back: the others are not touched.
    const others = await meanwhile(cluster, podOf(a), podOf(c), async () => {
      await cluster.server.remove(kubernetesNode(b.topology));
      t.strictSame(
        await leads(a, ways(a, [[c, encapsulation]])),
        [],
        'without the node there is no way to its pods',
      );
      await cluster.server.put(kubernetesNode(b.topology));
    });
    t.strictSame([others.ip4.lost, others.ip6.lost], [0, 0], told(others));

    await cluster.setPools('flat');
    for (const { topology } of [a, b, c]) cluster.nodes.teachRouter(topology);
    t.strictSame(await leads(a, ways(a, [[c, 'flat']])), []);
    for (const family of families)
      t.equal(
        await cluster.traffic.ping(podOf(a).name, podOf(c)[family]),
        3,
        `by a router that knows the way, ${family}`,
      );
  });
}

t.test('what happens to a node', real, async (t) => {
  const cluster = await start(t, { encapsulation: 'ipip' });
  const [a, b] = cluster.running as [Node, Node];
  const expected = ways(a, [[b, 'ipip']]);
  t.strictSame(await leads(a, expected), []);

  await t.test('its VPP is killed', async (t) => {
    const killed = await meanwhile(cluster, podOf(a), podOf(b), async () => {
      const pid = b.vppPid()!;
      process.kill(pid, 'SIGKILL');
      await b.untilOtherVpp(pid);
      await b.untilReady();
      t.strictSame(await leads(b, ways(b, [[a, 'ipip']])), []);
    });
    t.comment(`VPP of the other node killed: ${told(killed)}`);
    for (const family of families)
      t.ok(killed[family].longest_gap_ms < recovery_ms, `${family}: ${killed[family].longest_gap_ms} ms`);
    await reach(t, cluster, a, b, 'after the death of VPP');
  });

  await t.test('its process is killed, and started again', async (t) => {
    const pid = b.vppPid();
    const restarted = await meanwhile(cluster, podOf(a), podOf(b), async () => {
      await b.kill('SIGKILL');
      await b.restart();
      t.strictSame(await leads(b, ways(b, [[a, 'ipip']])), []);
    });
    t.equal(b.vppPid(), pid);
    t.strictSame([restarted.ip4.lost, restarted.ip6.lost], [0, 0], told(restarted));
  });

  await t.test('the API server is gone for a while, and changes meanwhile', async (t) => {
    await cluster.server.serve(false);
    const gone = await meanwhile(cluster, podOf(a), podOf(b), async () => {
      await a.kill('SIGKILL');
      await a.restart();
      await sleep(1000);
      t.strictSame(await leads(a, expected), [], 'a process that has not read it removes nothing');
    });
    t.strictSame([gone.ip4.lost, gone.ip6.lost], [0, 0], told(gone));
    await cluster.setPools('vxlan');
    await cluster.server.serve(true);
    t.strictSame(await leads(a, ways(a, [[b, 'vxlan']]), 40_000), []);
    t.strictSame(await leads(b, ways(b, [[a, 'vxlan']]), 40_000), []);
    await reach(t, cluster, a, b, 'after the API server was gone');
  });

  await t.test('the pools are deleted under their pods', async (t) => {
    const deleted = await meanwhile(cluster, podOf(a), podOf(b), async () => {
      await cluster.server.remove(...cluster.pools('vxlan'));
      t.strictSame(await leads(a, ways(a, [[b, 'flat']])), []);
      t.strictSame(await leads(b, ways(b, [[a, 'flat']])), []);
    });
    t.comment(`pools deleted: ${told(deleted)}`);
    for (const family of families)
      t.ok(deleted[family].lost <= lost_in_change_max, `${family}: ${deleted[family].lost} lost`);
    await reach(t, cluster, a, b, 'without a pool');
    await cluster.setPools('ipip');
    t.strictSame(await leads(a, expected), []);
  });

  await t.test('another node claims its address', async (t) => {
    const impostor = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: 'impostor',
        annotations: { 'projectcalico.org/IPv4Address': `${b.topology.node.ip4}/24` },
      },
    };
    await cluster.server.put(impostor);
    await cluster.giveBlock({ ...b.topology, name: 'impostor' }, '10.44.9.0/26');
    await sleep(1000);
    t.match(await saidOf(a), /impostor/, 'is said of it');
    for (const family of families)
      t.equal(
        await cluster.traffic.ping(podOf(a).name, podOf(b)[family]),
        3,
        `its own pods are reached, ${family}`,
      );
    await cluster.server.remove(impostor);
    await reach(t, cluster, a, b, 'after it has gone');
  });

  for (const node of [a, b]) {
    t.strictSame(await node.differences(), [], 'VPP holds what it should, and nothing else');
    t.strictSame(await node.stop(), { code: 0, signal: null });
  }
});

/** From the death of VPP to the first answer: its start, the take-over, pods and routes; on two cores that all share. */
const recovery_ms = 6000;

/** What a node says of objects that are in trouble. */
async function saidOf(node: Node): Promise<string> {
  return (await node.debug('/debug/sync')).replaceAll('\n', ' ');
}

t.test('5,000 blocks at once', real, async (t) => {
  const cluster = await start(t, { encapsulation: 'ipip' });
  const [a, b] = cluster.running as [Node, Node];
  t.strictSame(await leads(a, ways(a, [[b, 'ipip']])), []);
  const began = performance.now();
  const stormed = await meanwhile(cluster, podOf(a), podOf(b), async () => {
    await cluster.server.put(ipPool('more', '10.128.0.0/12', 'ipip'));
    for (let n = 0; n < 5000; n += 1) {
      await cluster.giveBlock(b.topology, `10.${128 + (n >> 10)}.${(n >> 2) & 255}.${(n & 3) * 64}/26`);
    }
    const all = async (): Promise<number> => Object.keys((await a.ways()).routes).length;
    const deadline = performance.now() + 60_000;
    while ((await all()) < 5000 && performance.now() < deadline) await sleep(200);
    t.ok((await all()) >= 5000, `${await all()} routes`);
  });
  t.comment(`5,000 blocks: ${Math.round(performance.now() - began)} ms; ${told(stormed)}`);
  t.strictSame([stormed.ip4.lost, stormed.ip6.lost], [0, 0], told(stormed));
});
