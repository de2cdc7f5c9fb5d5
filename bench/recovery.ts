/** How long the network is away when VPP or the node's own process is killed, with a node full of pods. */
import type { RunningNode } from '../lab/running-node.js';
import { Traffic } from '../lab/traffic.js';
import { atMost, type Report } from './figures.js';
import { Plugin, range, withNode } from './node.js';
import { untilAllReached } from './reached.js';

const pods = 110;
const host_ms_max = 100;
const pods_ms_max = 500;
const adopted_ms_max = 1000;
const deadline_ms = 30_000;
/** What has been reached when a condition of readiness holds again, in order: where the time goes. */
const stages: Readonly<Record<string, string>> = {
  vpp: 'a new one answers (its own start)',
  uplink: 'uplinks taken over (restore, gateways, VPP’s part, the tap, gateways again)',
  cni: 'every pod programmed',
};

async function vppKilled(node: RunningNode, traffic: Traffic, report: Report): Promise<void> {
  const { topology } = node;
  const prober = traffic.probe('outside', topology.node.ip4!);
  await prober.untilAnswered(deadline_ms);
  const pid = node.vppPid()!;
  const killed_at_ms = Date.now();
  process.kill(pid, 'SIGKILL');
  const addresses = topology.pods.map(({ ip4 }) => ip4);
  const pods_ms = await untilAllReached(topology, addresses, deadline_ms);
  await prober.untilAnswered(deadline_ms);
  const { longest_gap_ms } = await prober.stop();
  report(atMost('VPP killed, host away at a time', longest_gap_ms, 'ms', host_ms_max));
  report(atMost(`VPP killed, all ${pods} pods reachable`, pods_ms, 'ms', pods_ms_max));
  await node.untilStatus(({ ready, vpp }) => ready && vpp.pid !== pid, 'is not ready again', deadline_ms);
  for (const { name, since_ms } of (await node.status())!.conditions) {
    report({
      name: `VPP killed, ${stages[name] ?? name}`,
      value: since_ms - killed_at_ms,
      unit: 'ms after it',
    });
  }
}

async function nodeKilled(node: RunningNode, traffic: Traffic, report: Report): Promise<void> {
  const prober = traffic.probe('outside', node.topology.pods[0]!.ip4);
  await prober.untilAnswered(deadline_ms);
  await node.kill('SIGKILL');
  const adopted_ms = await node.restart();
  const { sent, lost } = await prober.stop();
  report(atMost(`node killed, packets lost of ${sent}`, lost, 'packets', 0));
  report(atMost('node killed, VPP adopted', adopted_ms, 'ms', adopted_ms_max));
}

export async function bench(report: Report): Promise<void> {
  await withNode(pods, async (node) => {
    const plugin = new Plugin(node);
    await Promise.all(range(0, pods).map((at) => plugin.add(at)));
    const traffic = new Traffic(node.topology);
    try {
      await nodeKilled(node, traffic, report);
      await vppKilled(node, traffic, report);
    } finally {
      traffic.close();
    }
  });
}
