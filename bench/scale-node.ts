/** A running node, with owners of a hundred thousand routes and more in its process and their objects in its VPP. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { atMost, median, quantile, type Report } from './figures.js';
import { Plugin, range, withNode } from './node.js';
import { askResident, with_resident } from './scale-resident.js';

const pods = 110;
const in_row = 90;
/** Of so many times as many ADDs the slowest in a hundred is not just the slowest of all. */
const times = 3;
const add_ratio_max = 2;
const rss_mb_max = 300;
const restarted_mb_max = 250;
const block_ms_max = 20;
/** After a start: what it has read is compared, and its garbage collected. */
const settle_ms = 3000;

function residentMegabytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) / 1000;
}

export async function benchNode(report: Report): Promise<void> {
  const measure: Parameters<typeof withNode>[1] = async (node) => {
    const plugin = new Plugin(node);
    const { run_dir } = node.config.paths;
    const addAll = async (from: number, count: number): Promise<number[]> => {
      const times: number[] = [];
      for (const at of range(from, from + count)) times.push(await plugin.add(at));
      return times;
    };
    await addAll(0, pods);
    const pods_mb = residentMegabytes(node.pid);
    const clear = async (): Promise<void> => {
      for (const at of range(pods, pods + in_row)) await plugin.del(at);
    };
    const addOften = async (): Promise<number[]> => {
      const all: number[] = [];
      for (let n = 0; n < times; n += 1) {
        all.push(...(await addAll(pods, in_row)));
        await clear();
      }
      return all;
    };
    // Neither ADDs nor routes meet a program that has never run.
    await askResident(run_dir, 'write');
    await addAll(pods, in_row);
    await askResident(run_dir, 'end');
    await clear();
    const quiet = await addOften();
    await askResident(run_dir, 'write');
    const busy = await addOften();
    const { rounds, delay_p99_ms, block_ms } = await askResident(run_dir, 'end');
    report({ name: 'ADD, quiet, p50', value: median(quiet), unit: 'ms' });
    report({ name: 'ADD, quiet, p99', value: quantile(quiet, 0.99), unit: 'ms' });
    const name = 'ADD, 100,000 routes programmed';
    report({ name: `${name} ${rounds} times, p50`, value: median(busy), unit: 'ms' });
    report({ name: `${name} ${rounds} times, p99`, value: quantile(busy, 0.99), unit: 'ms' });
    const ratio = quantile(busy, 0.99) / quantile(quiet, 0.99);
    report(atMost(`${name}, p99 to quiet`, ratio, 'ratio', add_ratio_max));
    report(atMost('the node meanwhile, event loop delay, p99', delay_p99_ms, 'ms', block_ms_max));
    report({ name: 'the node meanwhile, longest block', value: block_ms, unit: 'ms' });

    const { before_mb, then_mb } = await askResident(run_dir, 'hold');
    report({ name: `memory with ${pods} pods (RSS)`, value: pods_mb, unit: 'MB' });
    report({ name: 'memory after 100,000 routes have come and gone (RSS)', value: before_mb, unit: 'MB' });
    report(atMost('memory with all routes, services, policies (RSS)', then_mb, 'MB', rss_mb_max));

    const adopted = await askResident(run_dir, 'adopt');
    const readers = 'five owners read a full VPP';
    report({ name: `${readers}, CPU`, value: adopted.cpu_ms, unit: 'ms' });
    report(atMost(`${readers}, longest block`, adopted.block_ms, 'ms', block_ms_max));
    report(atMost(`${readers}, changes found`, adopted.operations, 'operations', 0));

    await node.kill('SIGKILL');
    const ready_ms = await node.restart();
    await sleep(settle_ms);
    report({ name: 'node started anew on a full VPP, ready', value: ready_ms, unit: 'ms' });
    const restarted_mb = residentMegabytes(node.pid);
    report(atMost('node started anew on a full VPP, memory (RSS)', restarted_mb, 'MB', restarted_mb_max));
  };
  await withNode(pods + in_row, measure, with_resident);
}
