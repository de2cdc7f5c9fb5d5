/**
 * When every one of many pods has answered. A connection to a port where nobody listens is refused by the pod itself, at
 * once: one process can ask hundreds of pods that way. Run as a program, it asks the addresses that it is given.
 */
import { realpathSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Topology } from '../lab/topology.js';

const program = fileURLToPath(import.meta.url);
/** Discard: nobody listens there. */
const port = 9;
/** A question that has no answer yet is asked again. Linux by itself would wait a second. */
const again_ms = 50;

/** Milliseconds until all addresses have answered somebody `outside`; rejects after the deadline. */
export function untilAllReached(
  topology: Topology,
  addresses: readonly string[],
  deadline_ms: number,
): Promise<number> {
  const began_ms = performance.now();
  const argv = [process.execPath, program, String(deadline_ms), ...addresses];
  const child = topology.spawn('outside', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`not all pods have answered within ${deadline_ms} ms`)));
    createInterface({ input: child.stdout! }).on('line', () => resolve(performance.now() - began_ms));
  });
}

function ask(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const settle = (answered: boolean) => {
      clearTimeout(late);
      socket.destroy();
      resolve(answered);
    };
    const late = setTimeout(() => settle(false), again_ms);
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'));
    socket.once('connect', () => settle(true));
  });
}

async function untilAnswered(address: string): Promise<void> {
  while (!(await ask(address))) await sleep(again_ms);
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === program) {
  const [deadline_ms, ...addresses] = process.argv.slice(2);
  setTimeout(() => process.exit(1), Number(deadline_ms)).unref();
  await Promise.all(addresses.map(untilAnswered));
  process.stdout.write('all\n');
}
