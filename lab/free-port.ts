/**
 * TCP ports for those who are told a number and bind it later. One that the kernel has just chosen and taken back is no such port: it chooses from the
 * same range for every connection that goes out.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';

/** Where services of the system are rare, and the kernel chooses none: below its range for connections. */
const first = 10_000;
const tries_max = 1000;

/** A port of this address that nobody has. No other caller gets it, in this process or another, while this process lives. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const last = chosenByKernel() - 1;
  for (let tries = 0; tries < tries_max; tries += 1) {
    const port = first + Math.floor(Math.random() * (last - first + 1));
    // An abstract socket, of the network namespace as the port is; the kernel takes it away with the process.
    const claim = await bound(`\0calico-vpp-node-lab/port-${port}`);
    if (claim === undefined) continue;
    const probe = await bound({ host, port });
    if (probe !== undefined) {
      await closed(probe);
      claim.unref();
      return port;
    }
    await closed(claim);
  }
  throw new Error(`no free port of ${host} from ${first} to ${last}: ${tries_max} were tried`);
}

function chosenByKernel(): number {
  try {
    const [low] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/);
    return Math.max(Number(low), first + 1000);
  } catch {
    // Not on Linux.
    return 32_768;
  }
}

/** Undefined where it is taken. */
function bound(
  where: string | { readonly host: string; readonly port: number },
): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined);
      else reject(error);
    });
    server.listen(where, () => resolve(server));
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
