/**
 * Routes all the way: from the UPDATE of a router that nobody here wrote (BIRD) by gobgpd and the node's process to VPP's table, of a whole node that
 * knows a cluster of 20,000 objects; and what of it the node's process keeps.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Gobgp } from 'gobgp-grpc-stubs';
import { type Client, connect as connectVpp, unixTransport } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { blockOf } from '../lab/k8s/calico-objects.js';
import type { Json } from '../lab/k8s/store.js';
import { LabCluster } from '../lab/lab-cluster.js';
import type { NodeSite } from '../lab/nodes.js';
import { router } from '../lab/nodes.js';
import type { RealVpp } from '../lab/real-vpp.js';
import type { RunningNode } from '../lab/running-node.js';
import { threadsWaitedForCpuMs } from '../src/host/devices/sysfs.js';
import { atMost, type Report } from './figures.js';
import { cpuSeconds, residentMegabytes } from './footprint.js';

const gobgpd = process.env.GOBGPD ?? '/usr/bin/gobgpd';
const bird = '/usr/sbin/bird';
const birdc = '/usr/sbin/birdc';
const as_of_router = 65001;
const router_address = '10.0.0.1';
/** At VPP's own count and at gobgpd's, which cost the node nothing. */
const look_ms = 50;
const deadline_ms = 300_000;
/** The node has taken in its cluster when it has used so little CPU for so long. */
const settle_ms = 3000;
const settled_cpu_s = 0.2;
/** V8 gives back what taking it in has left behind when little was allocated for a while: seen after 20 to 25 s. */
const rest_ms = 40_000;
const rss_mb_max = 150;
/** Blocks of 64 addresses, a hundred thousand of which have room in a /8. */
const prefixAt = (n: number): string => `20.${n >> 10}.${(n >> 2) & 255}.${(n & 3) * 64}/26`;
const nodes_count = 1000;
const blocks_per_node = 2;
const own_blocks = nodes_count * blocks_per_node;
/** Of the cluster's own blocks. */
const blockAt = (n: number): string => `10.${64 + (n >> 10)}.${(n >> 2) & 255}.${(n & 3) * 64}/26`;

/** 20,000 objects: 1,000 nodes with two blocks each and what IPAM notes of them, 7,500 services with their back ends. */
function* cluster(): Iterable<Json> {
  const calico = 'crd.projectcalico.org/v1';
  yield {
    apiVersion: calico,
    kind: 'BGPConfiguration',
    metadata: { name: 'default' },
    spec: { nodeToNodeMeshEnabled: false, serviceClusterIPs: [{ cidr: '10.96.0.0/12' }] },
  };
  yield {
    apiVersion: calico,
    kind: 'BGPPeer',
    metadata: { name: 'tor' },
    spec: { peerIP: router_address, asNumber: as_of_router },
  };
  for (let n = 0; n < nodes_count; n += 1) {
    const name = `worker-${n}.example.org`;
    const annotations = { 'projectcalico.org/IPv4Address': `10.1.${n >> 8}.${n & 255}/16` };
    const labels = { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `zone-${n % 3}` };
    yield { apiVersion: 'v1', kind: 'Node', metadata: { name, annotations, labels } };
    for (let at = 0; at < blocks_per_node; at += 1) yield* blockOf(name, blockAt(blocks_per_node * n + at));
  }
  for (let n = 0; n < 7500; n += 1) {
    const metadata = { name: `service-${n}`, namespace: `team-${n % 50}` };
    yield {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        type: 'ClusterIP',
        clusterIP: `10.${96 + (n >> 12)}.${(n >> 4) & 255}.${n & 15}`,
        ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      },
    };
    yield {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': metadata.name } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: [0, 1, 2].map((at) => ({
        addresses: [`10.64.${(n >> 4) & 255}.${at}`],
        nodeName: `worker-${(n + at) % 1000}.example.org`,
        conditions: { ready: true },
      })),
    };
  }
}

/**
 * BIRD in the router's namespace. It tells the cluster's own blocks from the beginning, as the router of a rack does, and others when it is asked to. Back
 * ends of services whose block nobody tells would all hang on the default route, and VPP looks at what hangs on it with each new route beneath it.
 */
class Sender {
  readonly #directory = mkdtempSync(join(tmpdir(), 'bird-'));
  readonly #child;

  constructor(within: LabCluster, counts: readonly number[]) {
    const routes = (count: number, at: (n: number) => string): string =>
      Array.from({ length: count }, (_, n) => `route ${at(n)} blackhole;`).join('\n');
    const config = `
router id 10.0.0.1; protocol device {}
protocol static blocks { ipv4; ${routes(own_blocks, blockAt)} }
${counts.map((count) => `protocol static x${count} { disabled; ipv4; ${routes(count, prefixAt)} }`).join('\n')}
protocol bgp node {
  local 10.0.0.1 as ${as_of_router}; neighbor 10.0.0.11 as 64512; multihop;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; };
}`;
    writeFileSync(join(this.#directory, 'bird.conf'), config);
    const argv = ['-f', '-c', 'bird.conf', '-s', 'bird.ctl', '-P', 'pid'];
    this.#child = within.nodes.spawn(router, [bird, ...argv], { cwd: this.#directory, stdio: 'ignore' });
  }

  /** What birdc prints. */
  readonly ask = (...words: readonly string[]): string => {
    const socket = join(this.#directory, 'bird.ctl');
    return spawnSync(birdc, ['-s', socket, ...words], { encoding: 'utf8' }).stdout;
  };

  close(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + deadline_ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${deadline_ms} ms`);
    await sleep(look_ms);
  }
}

/** How many prefixes of the length that the router tells VPP has in its table. */
async function routesOf(vpp: Client): Promise<number> {
  const { reply } = await vpp.request(cli_inband, { cmd: 'show ip fib table 0 summary' });
  return Number(/^\s*26\s+(\d+)/m.exec(reply)?.[1] ?? 0);
}

/** How many prefixes gobgpd has of the router. */
async function learned(gobgp: Gobgp): Promise<number> {
  let received = 0;
  for await (const { peer } of gobgp.listPeer({ address: router_address }))
    for (const { state } of peer.afi_safis) received += state?.received ?? 0;
  return received;
}

async function settled({ pid }: RunningNode<NodeSite>): Promise<void> {
  for (let before = cpuSeconds(pid); ; ) {
    await sleep(settle_ms);
    const now = cpuSeconds(pid);
    if (now - before < settled_cpu_s) return;
    before = now;
  }
}

/** What the actor of BGP says of itself. */
async function bgpOf(node: RunningNode<NodeSite>): Promise<Readonly<Record<string, unknown>>> {
  const { gauges = {} } = JSON.parse(await node.debug('/debug/actor/bgp/bgp-session'));
  return gauges;
}

/** What processes have used of the CPUs, and for how long their threads have wanted one that others had. */
class Share {
  readonly #pids: Readonly<Record<string, number>>;
  readonly #before = new Map<string, readonly [cpu_s: number, waited_ms: number]>();

  constructor(pids: Readonly<Record<string, number>>) {
    this.#pids = pids;
    for (const [name, pid] of Object.entries(pids)) this.#before.set(name, this.#of(pid));
  }

  tell(report: Report): void {
    for (const [name, pid] of Object.entries(this.#pids)) {
      const [cpu_s, waited_ms] = this.#of(pid);
      const [cpu_before_s, waited_before_ms] = this.#before.get(name)!;
      report({ name: `… CPU, ${name}`, value: cpu_s - cpu_before_s, unit: 's' });
      report({ name: `… waits for a CPU, ${name}`, value: (waited_ms - waited_before_ms) / 1000, unit: 's' });
    }
  }

  #of(pid: number): readonly [number, number] {
    return [cpuSeconds(pid), threadsWaitedForCpuMs(pid)];
  }
}

export async function benchNode(report: Report, real: Extract<RealVpp, { usable: true }>): Promise<void> {
  const lacking = [gobgpd, bird, birdc].find((path) => !existsSync(path));
  if (lacking !== undefined) {
    process.stderr.write(`routes of a whole node: not run, there is no ${lacking}\n`);
    return;
  }
  const objects = [...cluster()];
  const counts = [10_000, 100_000];
  const environment = {
    CALICOVPP_ROUTE_SOURCE: 'bgp',
    CALICOVPP_GOBGPD_BINARY: gobgpd,
    // As in the image.
    NODE_OPTIONS: '--max-semi-space-size=8',
  };
  const lab = await LabCluster.start({
    vpp: real,
    subnets: [0],
    service_account: true,
    objects,
    environment,
  });
  let sender: Sender | undefined;
  let vpp: Client | undefined;
  let gobgp: Gobgp | undefined;
  try {
    const [node] = lab.running as [RunningNode<NodeSite>];
    await settled(node);
    const many = objects.length.toLocaleString('en-US');
    report({
      name: `${many} objects and BGP just taken in, memory`,
      value: residentMegabytes(node.pid),
      unit: 'MB',
    });
    await sleep(rest_ms);
    report(atMost('… and settled, memory (RSS)', residentMegabytes(node.pid), 'MB', rss_mb_max));
    sender = new Sender(lab, counts);
    const { ask } = sender;
    await until(async () => /Established/.test(ask('show', 'protocols', 'node')), 'a session with BIRD');
    // Until a peer has told all that it has, as it does after its session has come up, what it takes back is kept.
    await until(async () => (await bgpOf(node)).synced === true, 'all told by BIRD');
    const { run_dir, api_socket } = node.config.paths;
    gobgp = await connect({ target: join(run_dir, 'gobgpd', 'api.sock') });
    // One for all looks: with each connection VPP tells the names of all its messages.
    vpp = await connectVpp({ transport: unixTransport(api_socket), name: 'bench', deadline_ms });
    const [at_vpp, at_gobgpd] = [vpp, gobgp];
    await until(async () => (await routesOf(at_vpp)) >= own_blocks, "the cluster's own blocks");
    const own = await routesOf(vpp);
    const pids = { node: node.pid, gobgpd: node.gobgpdPid()!, VPP: node.vppPid()! };
    /** Has BIRD do it, and tells how long it took until there are `count` of its routes. */
    const measure = async (word: 'enable' | 'disable', of: number, count: number, goal_ms?: number) => {
      const name = `${of.toLocaleString('en-US')} prefixes, ${count > 0 ? 'from UPDATE to' : 'withdrawn from'} VPP's table`;
      const share = new Share(pids);
      const began = performance.now();
      const passed = () => performance.now() - began;
      ask(word, `x${of}`);
      const [took, gobgpd_took] = await Promise.all([
        until(async () => (await routesOf(at_vpp)) === own + count, name).then(passed),
        until(async () => (await learned(at_gobgpd)) === own_blocks + count, `${name}: gobgpd`).then(passed),
      ]);
      report(goal_ms === undefined ? { name, value: took, unit: 'ms' } : atMost(name, took, 'ms', goal_ms));
      report({ name: `… until gobgpd has ${count > 0 ? 'them' : 'none'}`, value: gobgpd_took, unit: 'ms' });
      if (node.vppPid() !== pids.VPP) throw new Error(`another VPP runs:\n${node.lastWords(100)}`);
      share.tell(report);
    };
    for (const count of counts) {
      await measure('enable', count, count, count === 10_000 ? 1000 : 5000);
      report({ name: '… memory of the node (RSS)', value: residentMegabytes(node.pid), unit: 'MB' });
      await measure('disable', count, 0);
    }
  } finally {
    gobgp?.close();
    vpp?.close();
    sender?.close();
    await lab.close();
  }
}
