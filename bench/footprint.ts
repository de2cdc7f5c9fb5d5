/** What a node with all its pods takes while nothing happens. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchDebug } from '../src/debug/client.js';
import { atMost, type Report } from './figures.js';
import { Plugin, range, withNode } from './node.js';

const pods = 110;
const settle_ms = 5000;
const idle_ms = 20_000;
const rss_mb_max = 150;
const cores_max = 0.02;
/** Of times in /proc; fixed for user space on all architectures. */
const ticks_per_s = 100;

/** Of a process. */
export function residentMegabytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) / 1000;
}

/** User and system time of all threads. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold anything; behind it, utime and stime are the 12th and 13th field.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticks_per_s;
}

export async function bench(report: Report): Promise<void> {
  await withNode(pods, async (node) => {
    const plugin = new Plugin(node);
    for (const at of range(0, pods)) await plugin.add(at);
    const { pid } = node;
    await sleep(settle_ms);
    const before_s = cpuSeconds(pid);
    await sleep(idle_ms);
    const cores = (cpuSeconds(pid) - before_s) / (idle_ms / 1000);
    report(atMost(`memory with ${pods} pods (RSS)`, residentMegabytes(pid), 'MB', rss_mb_max));
    report(atMost(`CPU with ${pods} pods, idle`, cores, 'cores', cores_max));
    const { body } = await fetchDebug(node.config.paths.debug_socket, '/debug/runtime');
    const { loop_delay_ms } = JSON.parse(body) as { loop_delay_ms: Readonly<Record<string, number>> };
    report({ name: 'event loop delay, p50', value: loop_delay_ms.p50!, unit: 'ms' });
    report({ name: 'event loop delay, p99', value: loop_delay_ms.p99!, unit: 'ms' });
  });
}
