/**
 * Fast paths into pods on one node, beside the plain one, all in one run:
 *
 * - TCP between pods by their devices, by memif and by VPP's host stack (VCL), and from each to each: iperf3 at both ends, in turns.
 * - ADD of a plain pod, of one with a memif and of one with the host stack, in turns.
 *
 * The program at the other end of a memif is a second VPP, which hands each packet on to Linux by a tun: what a program costs that does not
 * is not seen here.
 */
import { MemifClient } from '../lab/memif-client.js';
import { pathOf } from '../lab/programs.js';
import { findRealVpp } from '../lab/real-vpp.js';
import type { RunningNode } from '../lab/running-node.js';
import type { Pod } from '../lab/topology.js';
import { findVcl, type Place, VclLab } from '../lab/vcl.js';
import { atMost, type BenchOptions, CannotRun, median, quantile, type Report } from './figures.js';
import { addressesAt, withNode } from './node.js';

const gates = {
  CALICOVPP_FEATURE_GATES: '{"memifEnabled": true, "vclEnabled": true}',
};
const port = 6001;
const annotations = {
  plain: {},
  memif: {
    // All: what a program at a memif asks from another port is answered at the device.
    'cni.projectcalico.org/vppExtraMemifPorts': 'tcp:1-65535',
    'cni.projectcalico.org/vppExtraMemifSpec': '{"isl3": true}',
  },
  vcl: { 'cni.projectcalico.org/vppVcl': 'enable' },
} as const;
type Kind = keyof typeof annotations;
const kinds = ['plain', 'memif', 'vcl'] as const;
/** Of an ADD, to that of a plain pod. */
const add_ratio_max = 3;

interface End {
  readonly kind: Kind;
  readonly pod: Pod;
  readonly place: Place;
}

/** From each to each, in turns, so that what disturbs one disturbs all. */
async function throughput(node: RunningNode, vcl: string, report: Report, rounds: number): Promise<void> {
  const vpp = findRealVpp();
  if (!vpp.usable) throw new CannotRun(vpp.why);
  const lab = new VclLab(node.topology, vcl);
  const clients: MemifClient[] = [];
  try {
    const ends: End[] = [];
    for (const [at, pod] of node.topology.pods.slice(0, 2 * kinds.length).entries()) {
      const kind = kinds[Math.floor(at / 2)]!;
      await node.add(pod, { annotations: annotations[kind] });
      const name = kind === 'memif' ? `m-${pod.name}` : pod.name;
      if (kind === 'memif') {
        const client = await MemifClient.start(vpp, node.topology, pod, name, { mode: 'ip' });
        clients.push(client);
        await client.untilConnected();
      }
      ends.push({ kind, pod, place: { name, vcl: kind === 'vcl' } });
    }
    const of = (kind: Kind): readonly End[] => ends.filter((end) => end.kind === kind);
    const ways = kinds.flatMap((from) => kinds.map((to) => ({ from, to, rates: [] as number[] })));
    for (let round = 0; round < rounds; round += 1)
      for (const { from, to, rates } of ways) {
        const [server] = of(to);
        const client = of(from)[from === to ? 1 : 0];
        if (server === undefined || client === undefined) continue;
        const stop = await lab.iperfServer(server.place, port, 4);
        try {
          const { bits_per_second } = await lab.iperf(client.place, server.pod.ip4, { port, seconds: 3 });
          rates.push(bits_per_second / 1e6);
        } finally {
          await stop();
        }
      }
    const names: Readonly<Record<Kind, string>> = { plain: 'device', memif: 'memif', vcl: 'host stack' };
    const plain = median(ways[0]!.rates);
    report({ name: 'TCP, IPv4, device to device', value: plain, unit: 'Mbit/s' });
    for (const { from, to, rates } of ways.slice(1)) {
      const rate = median(rates);
      report({ name: `TCP, IPv4, ${names[from]} to ${names[to]}`, value: rate, unit: 'Mbit/s' });
      report({ name: '… to device to device', value: rate / plain, unit: 'ratio' });
    }
  } finally {
    for (const client of clients) await client.stop();
    lab.close();
  }
}

/** Of each kind as many, in turns. */
async function adds(node: RunningNode, count: number, report: Report): Promise<void> {
  const took: Readonly<Record<Kind, number[]>> = { plain: [], memif: [], vcl: [] };
  for (const [at, pod] of node.topology.pods.slice(0, count * kinds.length).entries()) {
    const kind = kinds[at % kinds.length]!;
    const began_ms = performance.now();
    await node.add(pod, { annotations: annotations[kind], ips: addressesAt(at) });
    took[kind].push(performance.now() - began_ms);
  }
  // The very first ones meet a program that has never run.
  const settled = (kind: Kind): readonly number[] => took[kind].slice(5);
  const plain = median(settled('plain'));
  const names: Readonly<Record<Kind, string>> = {
    plain: 'of a plain pod',
    memif: 'with a memif',
    vcl: 'with the host stack',
  };
  for (const kind of kinds) {
    const p50 = median(settled(kind));
    report({ name: `ADD ${names[kind]}, p50`, value: p50, unit: 'ms' });
    report({ name: '… p99', value: quantile(settled(kind), 0.99), unit: 'ms' });
    if (kind !== 'plain')
      report(atMost('… p50, to that of a plain pod', p50 / plain, 'ratio', add_ratio_max));
  }
}

/** Needs VPP's library (`VCL_LDPRELOAD`) and iperf3. */
export async function bench(report: Report, { quick }: BenchOptions): Promise<void> {
  const vcl = findVcl();
  if ('why' in vcl) throw new CannotRun(vcl.why);
  if (pathOf('iperf3') === undefined) throw new CannotRun('needs iperf3');
  const count = quick ? 20 : 60;
  await withNode(count * kinds.length, (node) => adds(node, count, report), gates);
  await withNode(2 * kinds.length, (node) => throughput(node, vcl.path, report, quick ? 1 : 3), gates);
}
