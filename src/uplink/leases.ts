/**
 * Addresses that a DHCP server has lent the host. Its client may drop them when it is started anew on a tap, as systemd-networkd does, and ask for them
 * again, which takes it a moment, or half a minute where a packet is lost. Pure.
 */
import { bitsOf, holds } from '../ip/bits.js';
import { isLinkLocal } from '../ip/prefix.js';
import type { Family } from '../ip/text.js';
import type { Address, Route } from '../linux/network.js';
import { type CapturedRoute, connectedPrefixes } from '../linux/routes.js';
import type { CapturedUplink } from './captured.js';
import { addressKey, type Lost, missing, nothing_lost, routeKey, together } from './lost.js';

type Had = Pick<CapturedUplink, 'addresses' | 'routes' | 'foreign_routes'>;

/** What a tap has. */
export interface OnTap {
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
}

/** By its limited life. Of IPv6 a server gives single addresses; a subnet's are advertised. */
export function isLeased({ family, prefix, valid_s }: Address): boolean {
  return valid_s !== undefined && !isLinkLocal(prefix) && (family === 4 || prefix.endsWith('/128'));
}

/**
 * By family: what was leased and is gone. Nothing where the client has answered by now: with another address, or with the same one, whose life is
 * limited again, while on a tap it had none. With the last address of IPv4 the kernel drops all its routes, with others those from there.
 */
function lostLease({ addresses, routes, foreign_routes }: Had, now: OnTap, family: Family): Lost {
  const leased = addresses.filter((address) => address.family === family && isLeased(address));
  const known = new Set(addresses.map(addressKey));
  const is_answered = now.addresses.some(
    (address) =>
      address.family === family &&
      isLeased(address) &&
      (leased.some(({ prefix }) => prefix === address.prefix) || !known.has(address.prefix)),
  );
  if (leased.length === 0 || is_answered) return nothing_lost;
  const lost = missing(leased, now.addresses, addressKey);
  if (family === 6) return { ...nothing_lost, addresses: lost };
  const of_ip4 = routes.filter((route) => route.family === 4);
  const lost_routes = missing<CapturedRoute, Route>(of_ip4, now.routes, routeKey);
  if (lost.length === 0 && !lost_routes.some(({ prefix }) => prefix === '0.0.0.0/0')) return nothing_lost;
  const sources = new Set(lost.map(({ prefix }) => prefix.split('/')[0]));
  return {
    addresses: lost,
    routes: lost_routes,
    foreign_routes: foreign_routes.filter(({ prefsrc }) => sources.has(prefsrc)),
  };
}

/** Of both families. */
export function lostLeases(before: Had, now: OnTap): Lost {
  return together(lostLease(before, now, 4), lostLease(before, now, 6));
}

/** The uplinks as they are now, with the leases that they lack. */
export function withLeases(
  before: readonly CapturedUplink[],
  now: readonly CapturedUplink[],
): CapturedUplink[] {
  return now.map((uplink, at) => {
    const lost = lostLeases(before[at]!, uplink);
    if (lost.addresses.length === 0) return uplink;
    return { ...uplink, ...together(uplink, lost) };
  });
}

/** What has become of leases that were put back. `stale`: their client has others now. `is_open`: it has not answered yet. */
export function replaced(
  { addresses }: Pick<Had, 'addresses'>,
  lost: Lost,
  now: readonly Address[],
): { readonly stale: readonly Address[]; readonly is_open: boolean } {
  const known = new Set(addresses.map(addressKey));
  const put_back = new Set(lost.addresses.map(addressKey));
  const lent = now.filter(({ prefix, valid_s }) => put_back.has(prefix) && valid_s === undefined);
  const answered = new Set(
    now.flatMap((address) => (isLeased(address) && !known.has(address.prefix) ? [address.family] : [])),
  );
  const stale = lent.filter(({ family }) => answered.has(family));
  return { stale, is_open: lent.length > stale.length };
}

/** Routes that came back with a lease, and lead by a gateway that is in no network of the tap by now. */
export function unreached(lost: Lost, now: OnTap): Route[] {
  const put_back = new Set(lost.routes.map(routeKey));
  const networks = now.addresses.flatMap(connectedPrefixes).map(bitsOf);
  return now.routes
    .filter((route) => put_back.has(routeKey(route)))
    .filter(({ next_hops }) =>
      next_hops.some(
        ({ gateway }) =>
          gateway !== undefined && !networks.some((network) => holds(network, bitsOf(gateway))),
      ),
    );
}
