/**
 * ADD and DEL again and again, of plain pods, of pods with a memif and of pods with VPP's host stack, on a real VPP: nothing of them is left. `CHURN` says how often.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { needs } from '../kit/needs.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = needs(reason);
const rounds = Number(process.env.CHURN ?? 25);
/** VPP keeps memory of its own: pools that have grown. Seen of 1,000 rounds: docs/fast-paths.md. */
const heap_growth_max = 4 * 2 ** 20;
/** Those of packets that come just then. */
const buffers_on_their_way = 512;
const environment = { CALICOVPP_FEATURE_GATES: '{"memifEnabled": true, "vclEnabled": true}' };
const kinds = {
  'neither of them': {},
  memif: {
    'cni.projectcalico.org/vppExtraMemifPorts': 'tcp:5000-5999',
    'cni.projectcalico.org/vppExtraMemifSpec': '{"isl3": true}',
  },
  "VPP's host stack": { 'cni.projectcalico.org/vppVcl': 'enable' },
};

/** By what they are of. */
function descriptors(pid: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    let target = 'gone';
    try {
      target = readlinkSync(`/proc/${pid}/fd/${name}`).replace(/\[?\d.*/, '');
    } catch {
      // Closed since it was listed.
    }
    counts[target] = (counts[target] ?? 0) + 1;
  }
  return counts;
}

const numbers = (text: string): number[] => [...text.matchAll(/\d+/g)].map(([digits]) => Number(digits));

const units: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** Bytes of VPP's main heap in use. */
function heapUsed(text: string): number {
  const [, number = '', unit = ''] = /used:\s+([\d.]+)([KMG]?)/.exec(text) ?? [];
  return Number(number) * (units[unit] ?? 1);
}

async function held(node: RunningNode) {
  const lines = async (command: string): Promise<number> =>
    (await node.cli(command)).split('\n').filter((line) => line.trim() !== '').length;
  // Name, index, node, sizes, all, available, cached, used.
  const used = numbers((await node.cli('show buffers')).trim()).at(-1);
  return {
    things: {
      interfaces: await lines('show hardware-interfaces brief'),
      tables: await lines('show ip table'),
      tables6: await lines('show ip6 table'),
      namespaces: await lines('show app ns'),
      sockets: [...(await node.cli('show memif')).matchAll(/abstract:/g)].length,
      clients: await lines('show pbl client'),
    },
    buffers: used ?? 0,
    heap: heapUsed(await node.cli('show memory main-heap')),
    vpp: descriptors(node.vppPid()!),
    node: descriptors(node.pid),
    listening: readFileSync('/proc/net/unix', 'utf8').split('\n').length,
  };
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((all, count) => all + count, 0);

t.test(`${rounds} times`, real(), async (t) => {
  if (!vpp.usable) throw new Error(vpp.why);
  const topology = new Topology({ pods: 2 });
  t.teardown(() => topology.close());
  const node = await startNode(topology, { vpp, environment });
  t.teardown(() => node.close());
  const [p1] = topology.pods as [Pod];
  for (const [kind, annotations] of Object.entries(kinds)) {
    const once = async () => {
      await node.add(p1, { annotations });
      await node.del(p1);
    };
    // What VPP makes the first time stays.
    for (let warm = 0; warm < 5; warm += 1) await once();
    const before = await held(node);
    for (let round = 0; round < rounds; round += 1) await once();
    const after = await held(node);
    t.strictSame(after.things, before.things, `${kind}: nothing is left in VPP`);
    t.strictSame(await node.differences(), [], `${kind}: nor does the node miss anything`);
    const grown = after.heap - before.heap;
    t.comment(`${kind}: ${JSON.stringify(after.things)}`);
    t.comment(`${kind}: heap ${before.heap} to ${after.heap}, ${Math.round(grown / rounds)} bytes each time`);
    t.comment(`${kind}: descriptors of VPP ${JSON.stringify(before.vpp)} ${JSON.stringify(after.vpp)}`);
    t.comment(`${kind}: of the node ${JSON.stringify(before.node)} ${JSON.stringify(after.node)}`);
    t.comment(`${kind}: buffers ${before.buffers} to ${after.buffers}`);
    t.ok(after.buffers - before.buffers < buffers_on_their_way, `${kind}: no buffer is kept`);
    t.ok(grown < heap_growth_max, `${kind}: VPP's memory does not grow`);
    // Who asks VPP by its command line comes and goes.
    const [vpp_before, vpp_after] = [before.vpp, after.vpp].map(({ 'socket:': _, gone: __, ...files }) =>
      sum(files),
    ) as [number, number];
    const kept = Object.keys(annotations).length === 0 ? 0 : rounds;
    t.ok(vpp_after - vpp_before <= kept, `${kind}: VPP keeps one descriptor each time, and no other`);
    t.equal(sum(after.node), sum(before.node), `${kind}: the node none`);
  }
  t.notMatch(topology.lab.run('p1', 'cat', '/proc/net/unix'), /@vpp\//, 'no socket listens in the pod');
  t.strictSame(await node.stop(), { code: 0, signal: null });
});
