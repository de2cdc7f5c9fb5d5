/**
 * Default routes that the kernel has of routers' advertisements. It knows them by flags (linux/ipv6_route.h) that netlink neither tells nor
 * takes: /proc/net/ipv6_route shows them, and `SIOCADDRT` (linux/sockios.h) sets them.
 */
import { formatAddress, parseAddress } from '../../ip/text.js';
import type { NewRoute, Route } from '../../linux/network.js';
import { deviceControl } from '../libc.js';

const SIOCADDRT = 0x890b;
const RTF_UP = 0x1;
const RTF_GATEWAY = 0x2;
const RTF_DEFAULT = 0x1_0000;
const RTF_ADDRCONF = 0x4_0000;
const RTF_EXPIRES = 0x40_0000;
const preference_shift = 27;
const user_hz = 100;
const table_main = 254;

/** One hop by a gateway, and a life that ends. */
export function mayBeAdvertised({ family, prefix, expires_s, next_hops, nexthop_id }: Route): boolean {
  return (
    family === 6 &&
    prefix === '::/0' &&
    expires_s !== undefined &&
    nexthop_id === undefined &&
    next_hops.length === 1 &&
    next_hops[0]!.gateway !== undefined
  );
}

/** `text`: /proc/net/ipv6_route. What is the kernel's own, by gateway and metric. */
export function advertisedRoutes(text: string): ReadonlySet<string> {
  const known = new Set<string>();
  for (const line of text.split('\n')) {
    // Destination, length, source, length, next hop, metric, references, uses, flags: all hexadecimal.
    const [to, length, , , gateway = '', metric = '', , , flags = ''] = line.trim().split(/\s+/);
    if (length !== '00' || to === undefined || /[^0]/.test(to) || gateway.length !== 32) continue;
    const wanted = RTF_ADDRCONF | RTF_DEFAULT;
    if ((Number.parseInt(flags, 16) & wanted) !== wanted) continue;
    known.add(keyOf(formatAddress(Buffer.from(gateway, 'hex')), Number.parseInt(metric, 16)));
  }
  return known;
}

export function isAdvertisedNow(route: Route, known: ReadonlySet<string>): boolean {
  return mayBeAdvertised(route) && known.has(keyOf(route.next_hops[0]!.gateway!, route.metric));
}

const keyOf = (gateway: string, metric: number): string => `${gateway} ${metric}`;

/** `fd`: a socket of IPv6 in the namespace. Of the main table, or of the link's VRF. Throws what the kernel answers. */
export function addAdvertisedRoute(fd: number, route: NewRoute): void {
  const { prefix, table = table_main, metric = 0, expires_s = 0, preference = 0, next_hops = [] } = route;
  const [{ gateway, oif } = {}] = next_hops;
  if (gateway === undefined || oif === undefined) throw new RangeError(`${prefix} has no gateway and link`);
  const lives = expires_s > 0 ? RTF_EXPIRES : 0;
  const flags = RTF_UP | RTF_GATEWAY | RTF_DEFAULT | RTF_ADDRCONF | lives | (preference << preference_shift);
  // struct in6_rtmsg: destination, source, gateway, type u32, two lengths u16, metric u32, info ulong, flags u32, ifindex int.
  const message = Buffer.alloc(80);
  message.set(parseAddress(gateway, 6), 32);
  message.writeUInt32LE(metric, 56);
  message.writeBigUInt64LE(BigInt(expires_s * user_hz), 64);
  message.writeUInt32LE(flags >>> 0, 72);
  message.writeInt32LE(oif, 76);
  deviceControl(fd, SIOCADDRT, message, `${prefix} by ${gateway} in table ${table}`);
}
