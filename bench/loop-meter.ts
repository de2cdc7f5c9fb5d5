/** What something costs the process that does it: CPU, memory, and how long nobody else has a turn of the event loop. */
import { readFileSync } from 'node:fs';
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
  /** The most CPU that the main thread has used between two turns of a timer: of a block what a quiet machine would show, where it is not idle. */
  readonly block_cpu_ms: number;
}

/** Runs `work` and tells what it has cost. */
export async function costOf(work: () => unknown): Promise<Cost> {
  const delay = monitorEventLoopDelay({ resolution: resolution_ms });
  delay.enable();
  // The first delay behind a reset is not counted.
  delay.reset();
  const stamps = new Stamps();
  await timers(3);
  const before = process.cpuUsage();
  const began_ms = performance.now();
  await work();
  const took_ms = performance.now() - began_ms;
  const { user, system } = process.cpuUsage(before);
  // A block is measured by the first timer behind it.
  await timers(3);
  delay.disable();
  const block_cpu_ms = stamps.end();
  const late = (ns: number): number => Math.max(0, ns / 1e6 - resolution_ms);
  return {
    took_ms,
    cpu_ms: (user + system) / 1000,
    delay_p99_ms: late(delay.percentile(99)),
    block_ms: late(delay.max),
    block_cpu_ms,
  };
}

/** Nanoseconds of CPU are the first field of schedstat; the kernel adds them up at each of its ticks, every few milliseconds. */
function mainThreadCpuMs(): number {
  return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ', 1)[0]) / 1e6;
}

/** The CPU of the main thread between two turns of a timer of its own. */
class Stamps {
  #cpu_ms = mainThreadCpuMs();
  #most_ms = 0;
  readonly #timer = setInterval(() => this.#stamp(), resolution_ms);

  #stamp(): void {
    const cpu_ms = mainThreadCpuMs();
    this.#most_ms = Math.max(this.#most_ms, cpu_ms - this.#cpu_ms);
    this.#cpu_ms = cpu_ms;
  }

  end(): number {
    clearInterval(this.#timer);
    return this.#most_ms;
  }
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
