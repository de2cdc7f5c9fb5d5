/**
 * Addresses that a DHCP server has lent the host. Its client may drop them when it is started anew on a tap, as systemd-networkd does, and ask for them
 * again, which takes it a moment, or half a minute where a packet is lost. Pure.
 */
import type { LinkState } from '../host/undo/capture.js';
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

/** A server that has not been asked for so long may have other plans. */
const lease_age_ms_max = 60_000;

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

/** The device as it is, with the leases that it had and lacks. Its index may be another one by now. */
export function withLease(before: CapturedUplink, now: LinkState): LinkState {
  const lost = lostLeases(before, now);
  if (lost.addresses.length === 0) return now;
  const { index } = now.link;
  const moved = (route: CapturedRoute): CapturedRoute => ({
    ...route,
    next_hops: route.next_hops.map((hop) => (hop.oif === before.link.index ? { ...hop, oif: index } : hop)),
  });
  return {
    ...now,
    addresses: [...now.addresses, ...lost.addresses.map((address) => ({ ...address, link: index }))],
    routes: [...now.routes, ...lost.routes.map(moved)],
    foreign_routes: [...now.foreign_routes, ...lost.foreign_routes.map(moved)],
    others: new Map([...before.others, ...now.others]),
  };
}

/** Without leases that may have run out: `age_ms` is how long it is since the client was there to renew them. */
export function withoutOldLeases(before: CapturedUplink, age_ms: number): CapturedUplink {
  const isOld = (address: Address): boolean =>
    isLeased(address) && age_ms >= Math.min((address.valid_s ?? 0) * 1000, lease_age_ms_max);
  return { ...before, addresses: before.addresses.filter((address) => !isOld(address)) };
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
