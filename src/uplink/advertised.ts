/**
 * What routers have told the host by advertisements (RFC 4861): addresses, on-link prefixes, routes. VPP lets neither solicitations nor
 * advertisements pass to the tap, so that whoever flushes these there, as systemd-networkd does with a device that is new to it,
 * does not hear of them again. They are not the host's to lose while VPP runs. Pure.
 */
import type { RouterAdvertisement } from '../ip/advertisement.js';
import { isLinkLocal, splitPrefix } from '../ip/prefix.js';
import type { Address, Route } from '../linux/network.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import type { CapturedUplink } from './captured.js';

const rtprot_ra = 9;

/** One with a limited life and a subnet. A DHCPv6 server gives single addresses: those are its client's to keep or to give back. */
function isAdvertisedAddress({ family, prefix, valid_s }: Address): boolean {
  if (family !== 6 || valid_s === undefined || isLinkLocal(prefix)) return false;
  return splitPrefix(prefix).length < 128;
}

function isAdvertisedRoute({ family, protocol, expires_s }: Route): boolean {
  return family === 6 && (protocol === rtprot_ra || expires_s !== undefined);
}

const addressKey = ({ prefix }: Address): string => prefix;
const routeKey = ({ prefix, table, metric, next_hops }: Route): string =>
  [prefix, table, metric, ...next_hops.map(({ gateway }) => gateway)].join(' ');

function lost<T>(before: readonly T[], now: readonly T[], keyOf: (each: T) => string): T[] {
  const there = new Set(now.map(keyOf));
  return before.filter((each) => !there.has(keyOf(each)));
}

/** The uplinks as they are now, and those that are deaf with what routers had told before. */
export function withAdvertised(
  before: readonly CapturedUplink[],
  now: readonly CapturedUplink[],
  deaf: readonly CapturedUplink[] = before,
): CapturedUplink[] {
  return now.map((uplink, at) => {
    if (!deaf.some(({ link }) => link.name === uplink.link.name)) return uplink;
    const { addresses = [], routes = [] } = before[at] ?? {};
    const lost_addresses = lost(addresses.filter(isAdvertisedAddress), uplink.addresses, addressKey);
    const lost_routes = lost(routes.filter(isAdvertisedRoute), uplink.routes, routeKey);
    if (lost_addresses.length + lost_routes.length === 0) return uplink;
    return {
      ...uplink,
      addresses: [...uplink.addresses, ...lost_addresses],
      routes: [...uplink.routes, ...lost_routes],
    };
  });
}

/** Prefixes of what routers had told before, and is no more; `now` undefined: nothing is. */
export function lostAdvertised(
  before: readonly CapturedUplink[],
  now: readonly CapturedUplink[] | undefined,
): string[] {
  return before.flatMap(({ addresses, routes }, at) =>
    [
      ...lost(addresses.filter(isAdvertisedAddress), now?.[at]?.addresses ?? [], addressKey),
      ...lost(routes.filter(isAdvertisedRoute), now?.[at]?.routes ?? [], routeKey),
    ].map(({ prefix }) => prefix),
  );
}

/** Addresses that a DHCPv6 server had given the host, and that it has no more. */
export function lostLeases(before: readonly CapturedUplink[], now: readonly CapturedUplink[]): string[] {
  const isLeased = ({ family, prefix, valid_s }: Address): boolean =>
    family === 6 && valid_s !== undefined && prefix.endsWith('/128');
  return before.flatMap(({ addresses }, at) =>
    lost(addresses.filter(isLeased), now[at]?.addresses ?? [], addressKey).map(({ prefix }) => prefix),
  );
}

/** What VPP tells the host by this tap in the name of a router; nothing when it is silent. */
export function advertisementIn(
  objects: readonly VppObject[],
  tap: InterfaceTag,
): RouterAdvertisement | undefined {
  const own = objects.filter((object) => 'interface' in object && object.interface === tap);
  const config = own.find((object) => object.kind === 'ra_config');
  const speaker = own.find((object) => object.kind === 'link_local');
  if (config === undefined || speaker === undefined) return undefined;
  const { lifetime_s, managed, other } = config;
  const prefixes = own.flatMap((object) => (object.kind === 'ra_prefix' ? [object] : []));
  return { router: speaker.address, lifetime_s, managed, other, prefixes };
}
