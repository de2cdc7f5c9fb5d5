/** What something costs the process that does it: CPU, memory, and how long nobody else has a turn of the event loop. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const resolution_ms = 1;

export interface Cost {
  readonly took_ms: number;
  /** User and system time of all threads. */
  readonly cpu_ms: number;
  /** By how much a timer came late: what a message has waited for its turn. */
  readonly delay_p99_ms: number;
  /** The longest of these delays. */
  readonly block_ms: number;
}

/** Runs `work` and tells what it has cost. */
export async function costOf(work: () => unknown): Promise<Cost> {
  const delay = monitorEventLoopDelay({ resolution: resolution_ms });
  delay.enable();
  // The first delay behind a reset is not counted.
  delay.reset();
  await timers(3);
  const before = process.cpuUsage();
  const began_ms = performance.now();
  await work();
  const took_ms = performance.now() - began_ms;
  const { user, system } = process.cpuUsage(before);
  // A block is measured by the first timer behind it.
  await timers(3);
  delay.disable();
  const late = (ns: number): number => Math.max(0, ns / 1e6 - resolution_ms);
  return {
    took_ms,
    cpu_ms: (user + system) / 1000,
    delay_p99_ms: late(delay.percentile(99)),
    block_ms: late(delay.max),
  };
}

async function timers(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setTimeout(resolve, 2 * resolution_ms));
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Megabytes of what lives, after a collection. */
export function heapMegabytes(): number {
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}

/** Megabytes resident now, after a collection. */
export function residentMegabytes(): number {
  collect();
  return process.memoryUsage.rss() / 1e6;
}
