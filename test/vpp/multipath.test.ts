/** A pod of a node with a real VPP, and two routers (BIRD) that announce one prefix: flows go to both, and on when one of them leaves. */

import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { router } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';

const gobgpd = '/usr/bin/gobgpd';
const bird = '/usr/sbin/bird';
const found = findRealVpp();
const skip =
  canUseNetns() ??
  (!found.usable
    ? found.why
    : [gobgpd, bird].filter((path) => !existsSync(path)).map((path) => `needs ${path}`)[0]);

const anycast = { prefix: '198.51.100.0/24', address: '198.51.100.9' } as const;
const routers = [
  { name: 'r2', address: '10.0.0.2', as_number: 65_002 },
  { name: 'r3', address: '10.0.0.3', as_number: 65_003 },
] as const;
/** Three of it are the hold time. */
const keepalive_s = 3;
const port = 5353;
const flows = 24;

t.test('two routers of two ASs announce the same prefix', skip === undefined ? {} : { skip }, async (t) => {
  if (!found.usable) return;
  const cluster = await LabCluster.start({
    vpp: found,
    subnets: [0],
    environment: { CALICOVPP_ROUTE_SOURCE: 'bgp', CALICOVPP_GOBGPD_BINARY: gobgpd },
  });
  t.teardown(() => cluster.close());
  const { nodes, traffic } = cluster;
  const [node] = cluster.running;
  if (node === undefined) throw new Error('there is no node');
  const pod = node.topology.pods[0]!;
  const directory = mkdtempSync(join(tmpdir(), 'bird-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));

  const run = ({ name, address, as_number }: (typeof routers)[number]): ChildProcess => {
    const session = `local ${address} as ${as_number}; neighbor ${node.topology.node.ip4} as 64512; multihop;`;
    writeFileSync(
      join(directory, `${name}.conf`),
      `router id ${address}; protocol device {} protocol static { ipv4; route ${anycast.prefix} blackhole; }
protocol kernel { ipv4 { export filter { if source != RTS_BGP then reject; krt_prefsrc = ${anycast.address}; accept; }; }; }
protocol bgp n1 { ${session} connect delay time 1; connect retry time 1; error wait time 1, 2; ipv4 { import all; export where source = RTS_STATIC; }; }\n`,
    );
    const argv = ['-f', '-c', `${name}.conf`, '-s', `${name}.ctl`, '-P', `${name}.pid`];
    return nodes.spawn(name, [bird, ...argv], { cwd: directory, stdio: 'ignore' });
  };
  for (const { name, address } of routers) {
    nodes.lab.veth(
      { namespace: name, name: 'eth0', addresses: [`${address}/24`] },
      { namespace: router, name },
    );
    nodes.lab.run(router, 'ip', 'link', 'set', name, 'master', 'br0');
    nodes.lab.run(name, 'ip', 'addr', 'add', `${anycast.address}/32`, 'dev', 'lo');
    // Answers have the address that was asked, whether the pod's address or the node's is seen here.
    nodes.lab.run(name, 'ip', 'route', 'change', '10.0.0.0/24', 'dev', 'eth0', 'src', anycast.address);
    await traffic.serve(name, port);
  }
  const daemons = new Map(routers.map((each) => [each.name, run(each)]));
  await cluster.server.put(
    ...routers.map(({ name, address, as_number }) => ({
      apiVersion: 'crd.projectcalico.org/v1',
      kind: 'BGPPeer',
      metadata: { name },
      spec: { peerIP: address, asNumber: as_number, keepaliveTime: `${keepalive_s}s` },
    })),
  );
  const leads = async (way: string, limit_ms = 60_000): Promise<void> => {
    const deadline = performance.now() + limit_ms;
    let is: string | undefined;
    while (performance.now() < deadline) {
      is = (await node.ways()).routes[anycast.prefix];
      if (is === way) break;
      await sleep(50);
    }
    t.equal(is, way);
  };
  /** Who answers each flow; `-` where nobody does. */
  const ask = async (): Promise<readonly string[]> => {
    const all = await Promise.all(
      Array.from({ length: flows }, (_, n) =>
        traffic.ask(pod.name, anycast.address, port, { count: 1, wait_ms: 2000, source_port: 20_000 + n }),
      ),
    );
    return all.map(({ answered_by }) => answered_by.join() || '-');
  };

  await leads('10.0.0.2 + 10.0.0.3');
  await traffic.untilReachable(pod.name, anycast.address, 30_000);
  const before = await ask();
  t.strictSame([...new Set(before)].sort(), ['r2', 'r3'], 'flows are spread over both');
  t.strictSame(await ask(), before, 'and each stays where it is');

  const prober = traffic.probe(pod.name, anycast.address);
  await prober.untilAnswered(10_000);
  daemons.get('r2')!.kill('SIGKILL');
  await leads('10.0.0.3');
  nodes.lab.run(router, 'ip', 'link', 'set', 'r2', 'down');
  const after = await ask();
  t.strictSame([...new Set(after)], ['r3'], 'when the speaker of one ends all flows go on by the other');
  await prober.untilAnswered(10_000);
  const ended = await prober.stop();
  t.equal(ended.lost, 0, `of ${ended.sent} pings, ${ended.longest_gap_ms} ms at a time`);

  nodes.lab.run(router, 'ip', 'link', 'set', 'r2', 'up');
  run(routers[0]);
  await leads('10.0.0.2 + 10.0.0.3');

  // The router is gone without a word: who goes by it is lost until its session's hold time is over.
  nodes.lab.run(router, 'ip', 'link', 'set', 'r2', 'down');
  const cut_ms = performance.now();
  t.strictSame([...new Set(await ask())].sort(), ['-', 'r3'], 'flows by a router that is gone are lost');
  await leads('10.0.0.3');
  const gap_ms = performance.now() - cut_ms;
  t.ok(gap_ms < keepalive_s * 3000 + 2000, `${Math.round(gap_ms)} ms`);
  t.strictSame([...new Set(await ask())], ['r3'], 'and then go by the other');
  nodes.lab.run(router, 'ip', 'link', 'set', 'r2', 'up');
  await leads('10.0.0.2 + 10.0.0.3');
  const vpp_pid = node.vppPid();
  /** No ping is lost while this happens. */
  const quietly = async (what: string, happens: () => Promise<void>): Promise<void> => {
    const pings = traffic.probe(pod.name, anycast.address);
    await pings.untilAnswered(10_000);
    await happens();
    await leads('10.0.0.2 + 10.0.0.3');
    await pings.untilAnswered(10_000);
    const { lost, sent, longest_gap_ms } = await pings.stop();
    t.equal(lost, 0, `${what}: ${lost} of ${sent} pings, ${longest_gap_ms} ms at a time`);
  };
  await quietly('the speaker dies', async () => {
    const pid = node.gobgpdPid()!;
    process.kill(pid, 'SIGKILL');
    const deadline = performance.now() + 30_000 * patience;
    while ((node.gobgpdPid() ?? pid) === pid && performance.now() < deadline) await sleep(50);
    t.not(node.gobgpdPid() ?? pid, pid, 'another one is started');
  });
  await quietly('the process dies', async () => {
    await node.kill('SIGKILL');
    node.launch();
    await node.untilReady(120_000);
  });
  t.equal(node.vppPid(), vpp_pid);
});
