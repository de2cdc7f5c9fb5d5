/** What tests of encryption between two nodes on real VPPs share: a cluster, what passes between its pods, and what is seen of it on the wire. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { type NodeSite, router } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import type { ProbeReport } from '../../lab/traffic.js';
import { LinuxHost } from '../../src/host/netlink/linux-host.js';
import { listenToPackets } from '../../src/host/packet-socket.js';
import { needs } from '../kit/needs.js';

const found = findRealVpp();
const no_netns = canUseNetns();
const skip = found.usable ? no_netns : found.why;
/** Options of a test that needs all of that. */
export const real = needs(skip);

export type Node = RunningNode<NodeSite>;
export const families = ['ip4', 'ip6'] as const;
export const podOf = ({ topology }: Node): Pod => topology.pods[0]!;
export const settle_ms = 30_000;

export async function start(test: Test, options: Omit<LabClusterOptions, 'vpp'> = {}): Promise<LabCluster> {
  if (!found.usable) throw new Error(found.why);
  const cluster = await LabCluster.start({ vpp: found, ...options });
  test.teardown(() => cluster.close());
  return cluster;
}

/** `what` answers true in time; or what it has answered last is in the error. */
export async function until(what: () => Promise<unknown>, named: string, ms = settle_ms): Promise<void> {
  const deadline = performance.now() + ms * patience;
  for (;;) {
    const answer = await what();
    if (answer === true) return;
    if (performance.now() > deadline) throw new Error(`${named}: ${JSON.stringify(answer)}`);
    await sleep(50);
  }
}

/** Both nodes lead to each other's pods by this way: `flat`, or what the way out is called. */
export function untilBy(
  cluster: LabCluster,
  wayOf: (other: NodeSite, family: (typeof families)[number]) => string,
): Promise<void> {
  const [a, b] = cluster.running as [Node, Node];
  return until(async () => {
    const wrong: string[] = [];
    for (const [node, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const { routes } = await node.ways();
      for (const family of families) {
        const now = routes[other.topology.blocks[family]];
        if (now !== wayOf(other.topology, family)) wrong.push(`${node.topology.name}, ${family}: ${now}`);
      }
    }
    return wrong.length === 0 || wrong;
  }, 'another way');
}

/** Without anything between. */
export const flat = (other: NodeSite, family: (typeof families)[number]): string => other.node[family];

/** Echo, TCP and UDP. */
export async function reach(
  test: Test,
  cluster: LabCluster,
  from: Node,
  to: Node,
  named: string,
): Promise<void> {
  const { traffic } = cluster;
  const [near, far] = [podOf(from), podOf(to)];
  for (const family of families) {
    const what = `${named}, ${family}`;
    test.equal(await traffic.ping(near.name, far[family]), 3, `${what}: echo`);
    const transfer = await traffic.tcp(near.name, far.name, far[family], { bytes: 3_000_000 });
    test.match(transfer, { whole: true, receipt: { peer: near[family] } }, `${what}: TCP`);
    test.comment(`${what}: ${transfer.mbit_s} Mbit/s`);
    test.match(
      await traffic.udp(near.name, far.name, far[family], { wait_ms: 5000 }),
      { answered: 5 },
      `${what}: UDP`,
    );
  }
}

/** TCP from one pod to the other arrives, and the sender has learned from VPP how long packets may be on the way. In bytes. */
export async function learnsMtu(
  test: Test,
  cluster: LabCluster,
  from: Node,
  to: Node,
  mtu: { readonly ip4: number; readonly ip6: number },
  named: string,
): Promise<void> {
  const [near, far] = [podOf(from), podOf(to)];
  const { lab } = cluster.nodes;
  // What they have learned of another way; the receiver tells the sender of it when the connection begins.
  for (const { name } of [near, far])
    for (const family of ['-4', '-6']) lab.run(name, 'ip', family, 'route', 'flush', 'cache');
  for (const family of families) {
    const transfer = await cluster.traffic.tcp(near.name, far.name, far[family], { bytes: 5_000_000 });
    test.ok(transfer.whole, `${named}, ${family}: TCP: ${transfer.error}`);
    test.comment(`${named}, ${family}: ${transfer.mbit_s} Mbit/s`);
    const [route] = JSON.parse(lab.run(near.name, 'ip', '-j', 'route', 'get', far[family]));
    test.equal(route?.metrics?.[0]?.mtu, mtu[family], `${named}, ${family}: path MTU`);
  }
}

export type Reports = { readonly ip4: ProbeReport; readonly ip6: ProbeReport };

/** Pings of 10 ms from one pod to the other while something happens. */
export async function meanwhile(
  cluster: LabCluster,
  from: Pod,
  to: Pod,
  happens: () => Promise<unknown>,
): Promise<Reports> {
  const probers = families.map((family) => cluster.traffic.probe(from.name, to[family]));
  await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
  await happens();
  await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
  const [ip4, ip6] = await Promise.all(probers.map((prober) => prober.stop()));
  return { ip4, ip6 } as Reports;
}

export const told = (reports: Reports): string =>
  families.map((family) => `${family} ${reports[family].lost} of ${reports[family].sent} lost`).join('; ');

const ip_in_ip: readonly number[] = [4, 41];
/** Those that all pods, and all services, are in. */
const prefixes = {
  ip4: { pods: [10, 44], services: [10, 96] },
  ip6: { pods: [0xfd, 0x44], services: [0xfd, 0x00, 0x00, 0x96] },
} as const;

/** Counts packets between pods, and of pods to services, that pass a node's cable as they are, or with another IP header before them alone. */
export function clearPackets(cluster: LabCluster, { name }: NodeSite) {
  const netns = cluster.nodes.lab.namespace(router);
  const host = new LinuxHost();
  const namespace = host.open(netns);
  const link = namespace.link(name)!.index;
  namespace.close();
  let count = 0;
  const listener = listenToPackets(
    { netns, id: host.identify(netns)!, link, packet_bytes: 64 },
    ({ bytes }) => {
      const type = (bytes[12]! << 8) | bytes[13]!;
      const family = type === 0x0800 ? 'ip4' : type === 0x86dd ? 'ip6' : undefined;
      if (family === undefined) return;
      const [source, destination] = family === 'ip4' ? [26, 30] : [22, 38];
      const isIn = (at: number, prefix: readonly number[]) =>
        prefix.every((byte, n) => bytes[at + n] === byte);
      const { pods, services } = prefixes[family];
      const protocol = bytes[family === 'ip4' ? 23 : 20]!;
      const is_of_pod = isIn(source, pods) && (isIn(destination, pods) || isIn(destination, services));
      if (ip_in_ip.includes(protocol) || is_of_pod) count += 1;
    },
    () => undefined,
  );
  return {
    get count() {
      return count;
    },
    close: () => listener.close(),
  };
}

/** What VPP keeps of what it was asked, which it writes where it dies. */
export async function traced(node: Node): Promise<Buffer> {
  const name = `api-trace-${process.pid}`;
  await node.cli(`api trace save ${name}`);
  const bytes = readFileSync(join('/tmp', name));
  rmSync(join('/tmp', name));
  return bytes;
}
