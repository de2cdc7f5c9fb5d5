/** Where gobgpd listens for BGP, which it is told once: with AS and router id, by StartBgp. */
import { createServer } from 'node:net';
import { type Gobgp, RefusedError } from 'gobgp-grpc-stubs';
import { familyOf } from '../ip/text.js';
import type { WantedGlobal } from './plan.js';

type ActualGlobal = Pick<
  WantedGlobal,
  'asn' | 'router_id' | 'listen_port' | 'listen_addresses' | 'use_multiple_paths'
>;

const of4 = (addresses: readonly string[]) => addresses.filter((address) => familyOf(address) === 4);

/** `ip4_alone`: as wanted, but for the IPv6 addresses, which could not be had. */
export function compareGlobal(wanted: WantedGlobal, actual: ActualGlobal): 'same' | 'ip4_alone' | 'other' {
  const list = (addresses: readonly string[]) => [...addresses].sort().join(' ');
  const same =
    wanted.asn === actual.asn &&
    wanted.router_id === actual.router_id &&
    wanted.listen_port === actual.listen_port &&
    wanted.use_multiple_paths === actual.use_multiple_paths;
  const listens = list(actual.listen_addresses);
  const only4 = of4(wanted.listen_addresses);
  if (same && listens === list(wanted.listen_addresses)) return 'same';
  return same && only4.length > 0 && listens === list(only4) ? 'ip4_alone' : 'other';
}

/**
 * Starts BGP; on IPv4 alone where the IPv6 addresses cannot be had. Rejects with a RefusedError where neither can: that gobgpd may hold some of the
 * addresses from then on, and can be started no more.
 */
export async function startListening(
  gobgp: Gobgp,
  global: WantedGlobal,
  signal: AbortSignal,
): Promise<'all' | 'ip4_alone'> {
  const only4 = of4(global.listen_addresses);
  try {
    await gobgp.startBgp({ global }, { signal });
    return 'all';
  } catch (error) {
    if (
      !(error instanceof RefusedError) ||
      only4.length === 0 ||
      only4.length === global.listen_addresses.length
    )
      throw error;
    await gobgp.startBgp({ global: { ...global, listen_addresses: only4 } }, { signal });
    return 'ip4_alone';
  }
}

/** Whether a gobgpd that began anew could listen on the IPv6 addresses by now. It listens there for a moment; resolves, whatever happens. */
export async function canListenOn6({ listen_addresses, listen_port }: WantedGlobal): Promise<boolean> {
  for (const host of listen_addresses) {
    if (familyOf(host) === 4) continue;
    const server = createServer((socket) => socket.destroy());
    const listens = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen({ host, port: listen_port, ipv6Only: true, exclusive: true }, () => resolve(true));
    });
    if (!listens) return false;
    await new Promise((resolve) => server.close(resolve));
  }
  return true;
}
