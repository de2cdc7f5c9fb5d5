/** SRv6 between nodes on real VPPs and real GoBGPs: what goes by it, what is seen on the wire, and what is left of a node that is gone. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { families as bgp_families, connect, type PathInput } from 'gobgp-grpc-stubs';
import t, { type Test } from 'tap';
import { blocksOf, kubernetesNode } from '../../lab/k8s/calico-objects.js';
import { service, slice } from '../../lab/k8s/service-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { type NodeSite, router } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Pod } from '../../lab/topology.js';
import type { ProbeReport } from '../../lab/traffic.js';
import { LinuxHost } from '../../src/host/netlink/linux-host.js';
import { listenToPackets } from '../../src/host/packet-socket.js';
import { parseAddress } from '../../src/ip/text.js';
import { needs } from '../kit/needs.js';

const gobgpd = '/usr/bin/gobgpd';
const found = findRealVpp();
const no_netns = canUseNetns();
const no_gobgpd = existsSync(gobgpd) ? undefined : `needs ${gobgpd}`;
const skip = found.usable ? (no_netns ?? no_gobgpd) : found.why;
const real = needs(skip);

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

interface List {
  readonly segments: readonly string[];
  readonly behavior?: 'end_dt4' | 'end_dt6';
  readonly weight?: number;
}

/** As a controller of somebody else would announce it: better than what nodes announce themselves. */
function policyOf(
  endpoint: string,
  distinguisher: number,
  lists: readonly List[],
  targets: readonly string[] = [],
): PathInput {
  const family = bgp_families.ipv6_sr_policy;
  const nlri = { type: 'sr_policy', distinguisher, color: 4, endpoint: parseAddress(endpoint) } as const;
  return {
    family,
    nlri,
    pattrs: [
      { type: 'origin', origin: 0 },
      { type: 'mp_reach', family, next_hops: [endpoint], nlris: [nlri] },
      ...(targets.length === 0
        ? []
        : [
            {
              type: 'extended_communities' as const,
              communities: targets.map((address) => ({
                type: 'ipv4_address_specific' as const,
                is_transitive: true,
                sub_type: 2,
                address,
                local_admin: 0,
              })),
            },
          ]),
      {
        type: 'tunnel_encap',
        tlvs: [
          {
            type: 15,
            tlvs: [
              {
                type: 'sr_binding_sid',
                bsid: { type: 'sr_binding_sid', s_flag: true, i_flag: false, sid: parseAddress('cafe::77') },
              },
              ...lists.map(({ segments, behavior, weight = 1 }) => ({
                type: 'sr_segment_list' as const,
                weight: { flags: 0, weight },
                segments: segments.map((sid, at) => ({
                  type: 'b' as const,
                  flags: { s_flag: true },
                  sid: parseAddress(sid),
                  ...(at === segments.length - 1 &&
                    behavior && { endpoint_behavior_structure: { behavior } }),
                })),
              })),
              { type: 'sr_preference', flags: 0, preference: 200 },
              { type: 'sr_priority', priority: 10 },
            ],
          },
        ],
      },
    ],
  };
}

const told = (reports: readonly ProbeReport[]): string =>
  reports.map(({ lost, sent }) => `${lost} of ${sent}`).join(', ');

/** Pings every 10 ms while something happens. Some are lost where VPP waits for a CPU. */
async function quietly(
  test: Test,
  cluster: LabCluster,
  from: Node,
  to: Node,
  named: string,
  happens: () => Promise<void>,
) {
  const probers = families.map((family) => cluster.traffic.probe(podOf(from).name, podOf(to)[family]));
  await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
  await happens();
  await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
  const reports = await Promise.all(probers.map((prober) => prober.stop()));
  test.comment(`${named}: lost ${told(reports)}`);
  for (const { lost, sent } of reports) test.ok(lost <= 3 + sent / 50, `${named}: lost ${told(reports)}`);
}

interface Shown {
  readonly faults: Readonly<Record<string, string>>;
  readonly srv6: Readonly<Record<string, string>>;
}

const shownBy = async (node: Node): Promise<Shown> =>
  (JSON.parse(await node.debug('/debug/sync')) as { readonly sync: { readonly connectivity: Shown } }).sync
    .connectivity;

t.test('pods of two nodes by SRv6', real(), async (t) => {
  const cluster = await start(t);
  const [a, b] = cluster.running as [Node, Node];
  await untilSteered(a, [b]);
  await untilSteered(b, [a]);
  const { sids } = await b.segments();
  t.strictSame(Object.values(sids).sort(), ['end_dt4', 'end_dt6']);
  const sid4 = Object.keys(sids).find((sid) => sids[sid] === 'end_dt4')!;

  await t.test('what passes is wrapped, and services are reached', async (t) => {
    const wire = onTheWire(cluster, a.topology);
    await reach(t, cluster, a, b, 'at first');
    await reach(t, cluster, b, a, 'at first, back');
    const web = { name: 'web', port: 5001, cluster_ips: ['10.96.0.10', 'fd96::10'] };
    const backends = (family: 'ip4' | 'ip6') => [{ address: podOf(b)[family], node: b.topology.name }];
    await cluster.server.put(service(web), ...families.map((family) => slice(web, family, backends(family))));
    await until(async () => {
      const services = JSON.stringify(await a.services());
      return families.every((family) => services.includes(podOf(b)[family])) || services;
    }, 'the service is programmed');
    for (const address of web.cluster_ips) {
      const transfer = await cluster.traffic.tcp(podOf(a).name, podOf(b).name, address, { bytes: 500_000 });
      t.equal(transfer.whole, true, `${address}: TCP to a pod of the other node`);
    }
    t.equal(wire.counts.clear, 0, 'nothing goes as it is');
    t.ok(wire.counts.wrapped > 0);
    wire.close();
    t.match((await shownBy(a)).srv6, { n2: /^IPv4: 1 prefixes by fcff:.*; IPv6: 1 prefixes by fcff:/ });
  });

  const foreign = await connect({
    target: join(b.config.paths.run_dir, 'gobgpd', 'api.sock'),
    version: '3.10.0',
    deadline_ms: 10_000,
  });
  t.teardown(() => foreign.close());
  const endpoint = b.topology.node.ip6;
  const withdraw = (distinguisher: number) => {
    const path = policyOf(endpoint, distinguisher, []);
    return foreign.deletePath({ family: path.family, path });
  };
  const byLists = (count: number) => async () => {
    const { policies } = await a.segments();
    return Object.values(policies).some((text) => text.split(', ').length === count) || policies;
  };

  await t.test('a policy that says something else: what goes by it moves', async (t) => {
    const list = (weight: number): List => ({ segments: [sid4], behavior: 'end_dt4', weight });
    await quietly(t, cluster, a, b, 'policies change', async () => {
      for (let turn = 0; turn < 3; turn += 1) {
        await foreign.addPath({ path: policyOf(endpoint, 7, [list(1), list(2 + turn)]) });
        await until(byLists(2), 'two lists');
        await foreign.addPath({ path: policyOf(endpoint, 7, [list(1), list(2), list(3 + turn)]) });
        await until(byLists(3), 'three lists');
      }
      await withdraw(7);
      await until(async () => {
        const { policies } = await a.segments();
        return Object.values(policies).every((text) => !text.includes(',')) || policies;
      }, 'its own policies again');
    });
    t.equal(Object.keys((await a.segments()).policies).length, 2, 'none is left of before');
  });

  await t.test('a policy that is meant for one of them is used by that one alone', async () => {
    const lists: readonly List[] = [1, 2].map((weight) => ({
      segments: [sid4],
      behavior: 'end_dt4',
      weight,
    }));
    const before = await a.segments();
    await foreign.addPath({ path: policyOf(endpoint, 8, lists, ['192.0.2.8']) });
    await foreign.addPath({ path: policyOf(endpoint, 9, lists, ['192.0.2.9', a.topology.node.ip4]) });
    await until(byLists(2), 'two lists');
    await withdraw(9);
    await until(async () => {
      const now = await a.segments();
      return JSON.stringify(now.steered) === JSON.stringify(before.steered) || now;
    }, 'its own policies again');
    await withdraw(8);
  });

  await t.test('policies that cannot be used are named, and disturb nothing', async (t) => {
    const before = await a.segments();
    const long = Array.from({ length: 17 }, (_, at) => `fcff::${at + 1}`);
    await foreign.addPath({ path: policyOf(endpoint, 17, [{ segments: long, behavior: 'end_dt4' }]) });
    await foreign.addPath({ path: policyOf(endpoint, 18, [{ segments: [sid4] }]) });
    await foreign.addPath({ path: policyOf(endpoint, 19, []) });
    await foreign.addPath({
      path: policyOf(endpoint, 20, [{ segments: [podOf(b).ip6], behavior: 'end_dt4' }]),
    });
    const named = (distinguisher: number) =>
      `SR policy of ${endpoint}, color 4, distinguisher ${distinguisher}`;
    await until(async () => {
      const { faults } = await shownBy(a);
      return [17, 18, 19, 20].every((each) => named(each) in faults) || faults;
    }, 'faults');
    t.match((await shownBy(a)).faults, {
      [named(17)]: /17 segments, and VPP takes 16/,
      [named(18)]: /does not say what it does/,
      [named(19)]: /no segment list/,
      [named(20)]: /keep SIDs apart from pods/,
    });
    t.strictSame(await a.segments(), before);
    for (const each of [17, 18, 19, 20]) await withdraw(each);
    await until(async () => {
      const { faults } = await shownBy(a);
      return [17, 18, 19, 20].every((each) => !(named(each) in faults)) || faults;
    }, 'no faults');
  });

  await t.test(
    'its process is killed: the next one has the same SIDs and policies, and no others',
    async (t) => {
      const before = await b.segments();
      await quietly(t, cluster, a, b, 'process killed', async () => {
        await b.kill('SIGKILL');
        await b.restart();
        await untilSteered(b, [a]);
      });
      t.strictSame(await b.segments(), before);
    },
  );

  await t.test('its VPP is killed: so does the next one', async (t) => {
    const before = await b.segments();
    const pid = b.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await b.untilOtherVpp(pid);
    await b.untilReady();
    await untilSteered(b, [a]);
    const after = await b.segments();
    t.strictSame([after.sids, after.policies, after.steered], [before.sids, before.policies, before.steered]);
    for (const family of families) {
      const prober = cluster.traffic.probe(podOf(a).name, podOf(b)[family]);
      await prober.untilAnswered(settle_ms);
      await prober.stop();
    }
    await reach(t, cluster, a, b, 'after the death of VPP');
    await untilSteered(a, [b]);
  });

  await t.test('the node is gone: nothing of it is left', async (t) => {
    await b.kill('SIGKILL');
    await cluster.server.remove(kubernetesNode(b.topology), ...blocksOf(b.topology));
    await until(async () => {
      const { policies, steered } = await a.segments();
      return Object.keys(policies).length + Object.keys(steered).length === 0 || { policies, steered };
    }, 'it is left');
    const { routes } = await a.ways();
    for (const family of families) t.notOk(b.topology.blocks[family] in routes, family);
    t.equal(Object.keys((await a.segments()).sids).length, 2, 'its own SIDs stay');
    t.strictSame(await a.differences(), []);
  });
});
