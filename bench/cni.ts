/** Pods connected and disconnected through the CNI socket as Calico's plugin does it: a new connection for each call. */
import type { RunningNode } from '../lab/running-node.js';
import { BarePods } from './bare-pods.js';
import { atMost, type BenchOptions, median, quantile, type Report } from './figures.js';
import { cpuSeconds } from './footprint.js';
import { Plugin, range, withNode } from './node.js';

const pods_at_once = 110;
const call_ms_max = 5000;
const add_p50_ms_max = 6;
const add_p99_ms_max = 30;
const at_once_ms_max = 1500;
const growth_max = 1.5;

const pods_in_row = { full: 500, quick: 120 } as const;
/** A median of so many ADDs is the time of the first, and of the last. */
const around = 20;
/** Bare messages and bare calls take turns with the ADDs, so that what disturbs one disturbs all. */
const bare_every = 10;

/** ADDs one after the other, beside what VPP needs for the same messages and what a call costs that does nothing. */
async function inRow(node: RunningNode, count: number, report: Report): Promise<void> {
  const plugin = new Plugin(node);
  const adds = [await plugin.add(0)];
  const calls: number[] = [];
  const serial: number[] = [];
  const waves: number[] = [];
  const bare = await BarePods.connect(node);
  const spare = node.topology.pods.slice(count).map(({ netns }) => netns);
  const before_s = cpuSeconds(node.pid);
  for (const at of range(1, count)) {
    adds.push(await plugin.add(at));
    if (at % bare_every !== 0) continue;
    calls.push(await plugin.nothing());
    serial.push(await bare.serial(spare.pop()!));
    waves.push(await bare.inWaves(spare.pop()!));
  }
  const cpu_ms = ((cpuSeconds(node.pid) - before_s) * 1000) / (count - 1);
  bare.close();
  report(atMost('ADD, p50', median(adds), 'ms', add_p50_ms_max));
  report(atMost('ADD, p99', quantile(adds, 0.99), 'ms', add_p99_ms_max));
  report({ name: 'ADD, CPU of the node', value: cpu_ms, unit: 'ms' });
  report({ name: 'a call that does nothing, p50', value: median(calls), unit: 'ms' });
  report({ name: "VPP's part, messages one at a time, p50", value: median(serial), unit: 'ms' });
  report({ name: "VPP's part, messages in waves, p50", value: median(waves), unit: 'ms' });
  const floor = median(calls) + median(waves);
  report({ name: 'ADD, to that call and those waves together', value: median(adds) / floor, unit: 'ratio' });
  // The very first ADDs meet a program that has never run: they are no measure of what many pods cost.
  const first = median(adds.slice(around, 2 * around));
  const last = median(adds.slice(-around));
  report(atMost(`ADD with ${count} pods to ADD with ${around}`, last / first, 'ratio', growth_max));
}

/** The times of the calls that were answered; the others, with their reasons, are counted. */
async function allOf(name: string, calls: readonly Promise<number>[], report: Report): Promise<number[]> {
  const settled = await Promise.allSettled(calls);
  const failed = settled.filter((one) => one.status === 'rejected');
  report(atMost(`${name}, failed`, failed.length, 'calls', 0));
  if (failed[0] !== undefined) console.error(`bench cni: ${name}: ${failed[0].reason}`);
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

/** A node that starts: all pods at once. Then all go at once, while others come. */
async function atOnce(node: RunningNode, report: Report): Promise<void> {
  const plugin = new Plugin(node);
  const began_ms = performance.now();
  const name = `${pods_at_once} ADDs at once`;
  const adds = await allOf(
    name,
    range(0, pods_at_once).map((at) => plugin.add(at)),
    report,
  );
  report(atMost(`${name}, all`, performance.now() - began_ms, 'ms', at_once_ms_max));
  report(atMost(`${name}, slowest`, Math.max(...adds), 'ms', call_ms_max));

  const alone: number[] = [];
  for (const at of range(100, pods_at_once)) {
    alone.push(await plugin.del(at));
  }
  report({ name: 'DEL, p50', value: median(alone), unit: 'ms' });

  const dels = await allOf(
    '100 DELs at once',
    range(0, 100).map((at) => plugin.del(at)),
    report,
  );
  report(atMost('100 DELs at once, slowest', Math.max(...dels), 'ms', call_ms_max));
}

export async function bench(report: Report, { quick }: BenchOptions): Promise<void> {
  const count = quick ? pods_in_row.quick : pods_in_row.full;
  await withNode(pods_at_once + 100, (node) => atOnce(node, report));
  const bare_pods = 2 * Math.floor(count / bare_every);
  await withNode(count + bare_pods, (node) => inRow(node, count, report));
}
