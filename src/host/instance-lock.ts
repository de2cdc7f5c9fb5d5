/**
 * One life of this process at a time on a node: two would fight over VPP and over the host's network. The lock is an abstract
 * socket, which the kernel takes away with the process, however it ends; it belongs to the network namespace of the host.
 */
import { createServer } from 'node:net';
import type { Clock } from '../clock.js';
import { errorCode } from './files.js';

/** Another life holds the lock. */
export class AlreadyRunning extends Error {
  override readonly name = 'AlreadyRunning';
}

export interface InstanceLock {
  release(): void;
}

const retry_ms = 250;

/** Waits up to `wait_ms` for the other life to end, as it does in an upgrade. Rejects with AlreadyRunning. */
export async function lockInstance(node: string, clock: Clock, wait_ms: number): Promise<InstanceLock> {
  const deadline = clock.now_ms() + wait_ms;
  for (;;) {
    try {
      return await bind(`\0calico-vpp-node/${node}`);
    } catch (error) {
      if (errorCode(error) !== 'EADDRINUSE') throw error;
      if (clock.now_ms() >= deadline) {
        throw new AlreadyRunning(`another calico-vpp-node runs for ${node}: stop it first, then try again`);
      }
      await clock.sleep(retry_ms);
    }
  }
}

function bind(name: string): Promise<InstanceLock> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(name, () => {
      server.unref();
      resolve({ release: () => server.close() });
    });
  });
}
