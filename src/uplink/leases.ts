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

/** A server has lent it an address of IPv4, by now or before. */
export function withLeased<T extends Pick<CapturedUplink, 'addresses' | 'leased'>>(uplink: T): T {
  const leased = uplink.leased === true || uplink.addresses.some((one) => one.family === 4 && isLeased(one));
  return leased ? { ...uplink, leased } : uplink;
}

const default_ip4 = '0.0.0.0/0';
const table_main = 254;

const localOf = ({ prefix }: Address): string => prefix.split('/')[0]!;
const isAlone = ({ family, prefix }: Address): boolean => prefix.endsWith(family === 4 ? '/32' : '/128');
const isDefault = ({ prefix, table }: Route): boolean => prefix === default_ip4 && table === table_main;
/** What a host gives itself where no server answers. */
const isMakeshift = ({ prefix }: Address): boolean => prefix.startsWith('169.254.');
/** Preferred for none of its life. So are addresses of limited life that a failover manager moves between nodes where it names the valid life alone. */
const isDeprecated = ({ preferred_s }: Address): boolean => preferred_s === 0;

/** The leases by which a family has its network. Of IPv4 one that is alone in its prefix is none where it stands beside another address. */
function leasesOf(addresses: readonly Address[], family: Family): Address[] {
  const own = addresses.filter((address) => address.family === family && !isLinkLocal(address.prefix));
  const wide = own.filter((address) => !isAlone(address));
  const main = family === 6 ? own : wide.length > 0 ? wide : own.slice(0, 1);
  return main.filter((address) => isLeased(address) && !isDeprecated(address));
}

/**
 * Whether `newcomers` are what the client has leased instead: of IPv4 where they have a default route, if there had been one. By a gateway in a network
 * of theirs, from one of them, or on the link where none had been. `gone`: addresses that would take routes along.
 */
function isAnswer(
  { routes }: Had,
  newcomers: readonly Address[],
  now: readonly Route[],
  gone: ReadonlySet<string>,
  family: Family,
): boolean {
  const leased = newcomers.filter(
    (address) => address.family === family && isLeased(address) && !isDeprecated(address),
  );
  if (family === 6) return leased.length > 0;
  const wide = leased.filter((address) => !isAlone(address) && !isMakeshift(address));
  if (!routes.some(isDefault)) return wide.length > 0;
  const networks = wide.flatMap(connectedPrefixes).map(bitsOf);
  const sources = new Set(leased.map(localOf));
  const known = new Set(routes.map(routeKey));
  return now
    .filter((route) => isDefault(route) && !gone.has(route.prefsrc ?? ''))
    .some(
      (route) =>
        sources.has(route.prefsrc ?? '') ||
        route.next_hops.some(({ gateway, onlink = false }) =>
          gateway === undefined || onlink
            ? wide.length > 0 && !known.has(routeKey(route))
            : networks.some((network) => holds(network, bitsOf(gateway))),
        ),
    );
}

/**
 * Whether the host has its network in this family by an address that somebody has given it: one of `others`, which are on the tap besides. What had a
 * limited life before is of a router, or moves between nodes.
 */
function isSettled({ addresses }: Had, others: readonly Address[], family: Family): boolean {
  const had_limit = new Set(addresses.filter(({ valid_s }) => valid_s !== undefined).map(addressKey));
  return others.some(
    (address) =>
      address.family === family &&
      address.valid_s === undefined &&
      !had_limit.has(address.prefix) &&
      !isAlone(address) &&
      !isMakeshift(address) &&
      !isLinkLocal(address.prefix),
  );
}

/**
 * By family: what was leased and is gone. Nothing where the host has its network in another way by now, or the client has answered: with another
 * address, or with the same one, whose life is limited again, while on a tap it had none. With the last address of IPv4 the kernel drops all its routes,
 * with others those from there.
 */
function lostLease(had: Had, now: OnTap, family: Family): Lost {
  const { addresses, routes, foreign_routes } = had;
  const leased = leasesOf(addresses, family);
  const is_leased = new Set(leased.map(addressKey));
  const is_renewed = now.addresses.some((address) => isLeased(address) && is_leased.has(address.prefix));
  if (leased.length === 0 || is_renewed) return nothing_lost;
  const lost = missing(leased, now.addresses, addressKey);
  const known = new Set(addresses.map(addressKey));
  const others = now.addresses.filter(({ prefix }) => !is_leased.has(prefix));
  const newcomers = others.filter(({ prefix }) => !known.has(prefix));
  const is_settled = isSettled(had, lost.length > 0 ? others : newcomers, family);
  if (is_settled || isAnswer(had, newcomers, now.routes, new Set(), family)) return nothing_lost;
  if (family === 6) return { ...nothing_lost, addresses: lost };
  if (lost.length === 0 && (!routes.some(isDefault) || now.routes.some(isDefault))) return nothing_lost;
  const of_ip4 = routes.filter((route) => route.family === 4);
  const there = new Set([...now.addresses, ...lost].map(localOf));
  const sources = new Set(lost.map(localOf));
  return {
    addresses: lost,
    routes: missing<CapturedRoute, Route>(of_ip4, now.routes, routeKey).filter(
      ({ prefsrc }) => prefsrc === undefined || there.has(prefsrc),
    ),
    foreign_routes: foreign_routes.filter(({ prefsrc }) => sources.has(prefsrc ?? '')),
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

/** With no leases but those that can be lent: `age_ms` is how long it is since the client was there to renew them; it may be without end. */
export function withoutOldLeases(before: CapturedUplink, age_ms: number): CapturedUplink {
  const lasts = ({ valid_s = 0 }: Address): boolean => age_ms < Math.min(valid_s * 1000, lease_age_ms_max);
  const leases = new Set([...leasesOf(before.addresses, 4), ...leasesOf(before.addresses, 6)].filter(lasts));
  return {
    ...before,
    addresses: before.addresses.filter((address) => !isLeased(address) || leases.has(address)),
  };
}

/** All that is leased there, as if it were put back: taken over with, it is nobody's until its client answers. */
export function lentWith({ addresses, routes }: Had): Lost {
  const leases = [...leasesOf(addresses, 4), ...leasesOf(addresses, 6)];
  return { ...nothing_lost, addresses: leases, routes: routes.filter(({ family }) => family === 4) };
}

/**
 * What has become of leases that were put back. `stale`: their client has others now, by which the host has its network. `is_open`: it has not answered
 * yet.
 */
export function replaced(
  had: Had,
  lost: Lost,
  now: OnTap,
): { readonly stale: readonly Address[]; readonly is_open: boolean } {
  const known = new Set([...had.addresses, ...lost.addresses].map(addressKey));
  const put_back = new Set(lost.addresses.map(addressKey));
  const lent = now.addresses.filter(({ prefix, valid_s }) => put_back.has(prefix) && valid_s === undefined);
  const newcomers = now.addresses.filter(({ prefix }) => !known.has(prefix));
  const gone = new Set(lent.map(localOf));
  const stale = lent.filter(({ family }) => isAnswer(had, newcomers, now.routes, gone, family));
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
