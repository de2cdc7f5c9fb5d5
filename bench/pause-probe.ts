/**
 * How long VPP's main thread does nothing for others: a thread asks it for a ping again and again, over a connection of its
 * own, and what a ping takes is what anybody would have waited for.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { control_ping } from 'vpp-binapi-ts/memclnt';

/** Round trips of the pings, in milliseconds. */
export type Pauses = readonly number[];

/** Begins to ask; answers how to end it. */
export async function probePauses(api_socket: string): Promise<() => Promise<Pauses>> {
  const worker = new Worker(new URL(import.meta.url), { workerData: api_socket });
  const next = (): Promise<Pauses> =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  await next();
  return async () => {
    const pauses = next();
    worker.postMessage('end');
    return pauses;
  };
}

async function ask(api_socket: string): Promise<void> {
  const port = parentPort!;
  const vpp = await connect({ transport: unixTransport(api_socket), name: 'pauses' });
  let ended = false;
  port.once('message', () => {
    ended = true;
  });
  const pauses: number[] = [];
  port.postMessage(pauses);
  while (!ended) {
    const began_ms = performance.now();
    await vpp.request(control_ping, {});
    pauses.push(performance.now() - began_ms);
  }
  vpp.close();
  port.postMessage(pauses);
}

if (!isMainThread) await ask(workerData);
