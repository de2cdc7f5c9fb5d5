/**
 * What routers have told the host by advertisements (RFC 4861): addresses, on-link prefixes, routes. VPP lets neither solicitations nor
 * advertisements pass to the tap. Until it has heard a router itself and repeats its words (routers.ts), whoever flushes these there, as
 * systemd-networkd does with a device that is new to it, does not hear of them again: they are not the host's to lose. Pure.
 */
import type { RouterAdvertisement } from '../ip/advertisement.js';
import { isLinkLocal, splitPrefix } from '../ip/prefix.js';
import type { Address, Route } from '../linux/network.js';
import { connectedPrefixes, isConnected } from '../linux/routes.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import type { CapturedUplink } from './captured.js';
import { addressKey, isNothing, type Lost, missing, nothing_lost, routeKey } from './lost.js';

const rtprot_ra = 9;

/** One with a limited life and a subnet. A DHCPv6 server gives single addresses: those are its client's to keep or to give back. */
function isAdvertisedAddress({ family, prefix, valid_s }: Address): boolean {
  if (family !== 6 || valid_s === undefined || isLinkLocal(prefix)) return false;
  return splitPrefix(prefix).length < 128;
}

function isAdvertisedRoute({ family, protocol, expires_s }: Route): boolean {
  return family === 6 && (protocol === rtprot_ra || expires_s !== undefined);
}

/** Whether routers have not been heard behind this uplink: where they have, what is lost is what they have taken back. */
export type IsDeaf = (uplink: CapturedUplink) => boolean;

/** By uplink; `now` undefined: nothing is there. */
export function lostAdvertised(
  before: readonly CapturedUplink[],
  now: readonly CapturedUplink[] | undefined,
  isDeaf: IsDeaf,
): Lost[] {
  return before.map((uplink, at) => {
    if (!isDeaf(uplink)) return nothing_lost;
    const { addresses, routes } = uplink;
    return {
      addresses: missing(addresses.filter(isAdvertisedAddress), now?.[at]?.addresses ?? [], addressKey),
      routes: missing(routes.filter(isAdvertisedRoute), now?.[at]?.routes ?? [], routeKey),
      foreign_routes: [],
    };
  });
}

/**
 * The uplinks as they are now, with what routers had told before. With an address its connected route has gone, if it had one: a restore that gives
 * the address back would else take that for one which the host had deleted.
 */
export function withAdvertised(
  before: readonly CapturedUplink[],
  now: readonly CapturedUplink[],
  isDeaf: IsDeaf,
): CapturedUplink[] {
  const lost_of = lostAdvertised(before, now, isDeaf);
  return now.map((uplink, at) => {
    const lost = lost_of[at] ?? nothing_lost;
    if (isNothing(lost)) return uplink;
    const { addresses, routes } = lost;
    const networks = new Set(addresses.flatMap(connectedPrefixes));
    const connected = missing(
      before[at]!.routes.filter(isConnected),
      [...uplink.routes, ...routes],
      routeKey,
    );
    return {
      ...uplink,
      addresses: [...uplink.addresses, ...addresses],
      routes: [...uplink.routes, ...routes, ...connected.filter(({ prefix }) => networks.has(prefix))],
    };
  });
}

/** Without what routers may take back: where they are heard, that it is gone is no middle of a change. */
export function withoutTakenBack(uplinks: readonly CapturedUplink[], isDeaf: IsDeaf): CapturedUplink[] {
  return uplinks.map((uplink) =>
    isDeaf(uplink)
      ? uplink
      : {
          ...uplink,
          addresses: uplink.addresses.filter((address) => !isAdvertisedAddress(address)),
          routes: uplink.routes.filter((route) => !isAdvertisedRoute(route)),
        },
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
