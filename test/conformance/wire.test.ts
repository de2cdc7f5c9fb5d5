/** The wire agrees with what Calico's objects say: headers of tunnels, and how BGP introduces itself. Captured between two nodes. */

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { type NodeSite, router } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { missing, pathOf } from '../../lab/programs.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import { needs } from '../kit/needs.js';
import { Capture, type Packet, protocols, readIp, readOpen, readVxlan } from './wire.js';

const found = findRealVpp();
const why = found.usable ? (canUseNetns() ?? missing('tcpdump')) : found.why;
const skip = needs(why);
type Node = RunningNode<NodeSite>;

async function start(test: Test, environment: Readonly<Record<string, string>>): Promise<LabCluster> {
  if (!found.usable) throw new Error(found.why);
  const cluster = await LabCluster.start({ vpp: found, environment });
  test.teardown(() => cluster.close());
  return cluster;
}

const capture = (cluster: LabCluster, of: Node): Promise<Capture> =>
  Capture.of((argv) => cluster.nodes.inside(router, argv), of.topology.name);

/** Until a route leads by this. */
async function leads(node: Node, prefix: string, way: string): Promise<void> {
  const deadline = performance.now() + 30_000 * patience;
  while ((await node.ways()).routes[prefix] !== way) {
    if (performance.now() > deadline) throw new Error(`${prefix} does not go by ${way}`);
    await sleep(50);
  }
}

interface Seen {
  readonly outer: Packet;
  readonly inner: Packet;
}

const families = ['ip4', 'ip6'] as const;
const uplink_mtu = 1500;
t.test('tunnels', skip(), async (t) => {
  const cluster = await start(t, {});
  const [a, b] = cluster.running as [Node, Node];
  const [from, to] = [a.topology.pods[0]!, b.topology.pods[0]!];

  /** What goes from the one node to the other while their pods ping and transfer. */
  const between = async (family: 'ip4' | 'ip6', inside: (outer: Packet) => Packet | undefined) => {
    const wire = await capture(cluster, a);
    t.equal(await cluster.traffic.ping(from.name, to[family]), 3, `${family}: answered`);
    const { whole } = await cluster.traffic.tcp(from.name, to.name, to[family], { bytes: 200_000 });
    t.ok(whole, `${family}: whole`);
    const ends = new Set([a.topology.node[family], b.topology.node[family]]);
    return (await wire.stop()).flatMap((outer): Seen[] => {
      if (!ends.has(outer.src) || !ends.has(outer.dst)) return [];
      const inner = inside(outer);
      return inner === undefined ? [] : [{ outer, inner }];
    });
  };

  const agrees = (
    family: 'ip4' | 'ip6',
    seen: readonly Seen[],
    headers: number,
    ttl: number,
    text: string,
  ): void => {
    const pairs = new Set(
      seen.map(({ outer, inner }) => `${outer.src} ${outer.dst} ${inner.src} ${inner.dst}`),
    );
    const [near, far] = [a.topology.node[family], b.topology.node[family]];
    t.same(
      pairs,
      new Set([
        `${near} ${far} ${from[family]} ${to[family]}`,
        `${far} ${near} ${to[family]} ${from[family]}`,
      ]),
      `${text}: from node to node, from pod to pod`,
    );
    t.same(
      new Set(seen.map(({ outer }) => `${outer.ttl} ${outer.dont_fragment}`)),
      new Set([`${ttl} false`]),
      `${text}: hops that are left, and that routers may cut it`,
    );
    t.ok(seen.every(({ outer, inner }) => outer.length === inner.length + headers && !outer.fragment));
    const longest = Math.max(...seen.map(({ outer }) => outer.length));
    t.equal(longest, uplink_mtu, `${text}: a full packet, with its headers, is as long as the uplink takes`);
  };

  for (const family of families) {
    const headers = family === 'ip4' ? 20 : 40;
    await cluster.setPools('ipip');
    await leads(a, b.topology.blocks[family], `ipip-${b.topology.node[family]}`);
    await leads(b, a.topology.blocks[family], `ipip-${a.topology.node[family]}`);
    const carried = family === 'ip4' ? protocols.ipip : protocols.ip6_in_ip;
    const ipip = await between(family, (outer) =>
      outer.protocol === carried ? readIp(outer.payload) : undefined,
    );
    // Of IPv4 the pod's, less the hop through VPP.
    agrees(family, ipip, headers, family === 'ip4' ? 63 : 64, `IPIP, ${family}`);

    for (const [vni, port, tag] of [
      [4096, 4789, 'vxlan-4096'],
      [77, 8472, 'vxlan-77:8472'],
    ] as const) {
      await cluster.setPools('vxlan');
      await cluster.server.put({
        apiVersion: 'crd.projectcalico.org/v1',
        kind: 'FelixConfiguration',
        metadata: { name: 'default' },
        spec: { vxlanVNI: vni, vxlanPort: port },
      });
      await leads(a, b.topology.blocks[family], `${tag}-${b.topology.node[family]}`);
      await leads(b, a.topology.blocks[family], `${tag}-${a.topology.node[family]}`);
      const vxlan = await between(family, (outer) =>
        outer.protocol === protocols.udp ? readIp(readVxlan(outer).payload) : undefined,
      );
      agrees(family, vxlan, headers + 16, family === 'ip4' ? 253 : 254, `VXLAN ${vni}, ${family}`);
      const of = vxlan.map(({ outer }) => readVxlan(outer));
      t.same(
        new Set(of.map((each) => `${each.vni} ${each.dst_port} ${each.flags}`)),
        new Set([`${vni} ${port} 8`]),
      );
    }
  }
});

const gobgpd = pathOf('gobgpd');
const with_bgp = why === undefined && gobgpd === undefined ? needs('needs gobgpd on the PATH') : skip;

t.test('how BGP introduces itself', with_bgp(), async (t) => {
  const cluster = await start(t, {
    CALICOVPP_ROUTE_SOURCE: 'bgp',
    CALICOVPP_GOBGPD_BINARY: gobgpd!,
  });
  const [a, b] = cluster.running as [Node, Node];
  for (const family of families) await leads(a, b.topology.blocks[family], b.topology.node[family]);
  const wire = await capture(cluster, a);
  // With another AS sessions are made anew.
  await cluster.server.put({
    apiVersion: 'crd.projectcalico.org/v1',
    kind: 'BGPConfiguration',
    metadata: { name: 'default' },
    spec: { asNumber: 4_200_000_001, nodeMeshMaxRestartTime: '77s' },
  });
  const own = a.topology.node;
  const opensOf = (packets: readonly Packet[], src: string) =>
    packets.flatMap((packet) => {
      const open = packet.src === src ? readOpen(packet) : undefined;
      const as4 = open?.capabilities.find(({ code }) => code === 65)?.value.readUInt32BE(0);
      return open === undefined || as4 !== 4_200_000_001 ? [] : [{ packet, open }];
    });
  const packets = await wire.until(
    (all) => families.every((family) => opensOf(all, own[family]).length > 0),
    90_000,
  );
  await wire.stop();
  for (const family of families) {
    const [first] = opensOf(packets, own[family]);
    if (first === undefined) {
      t.fail(`${family}: no OPEN`);
      continue;
    }
    const { open, packet } = first;
    t.match(open, { version: 4, asn: 23456, hold_time_s: 90, router_id: own.ip4 }, family);
    t.equal(packet.dst, b.topology.node[family]);
    const of = (code: number) =>
      open.capabilities.filter((each) => each.code === code).map(({ value }) => value);
    const unicast = family === 'ip4' ? [0, 1, 0, 1] : [0, 2, 0, 1];
    t.same(of(1), [Buffer.from(unicast)], `${family}: unicast of the session's family, and no other`);
    t.equal(of(2).length, 1, 'route refresh');
    const [restart] = of(64);
    t.equal(restart!.readUInt16BE(0) & 0x0fff, 77, 'restart time');
    t.same(restart!.subarray(2, 5), Buffer.from(unicast.filter((_, at) => at !== 2)), 'of that family');
  }
});
