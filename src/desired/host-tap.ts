/**
 * What Linux gets on the tap that takes the uplink's place: its addresses, its routes, and what the host needs to reach
 * its IPv6 neighbours through VPP.
 *
 * IPv4 neighbours are answered by VPP's proxy ARP. For IPv6 VPP only proxies addresses that it is told, so the host is
 * told instead: gateways are permanent neighbours with VPP's MAC, and a better route than the connected one sends
 * on-link prefixes to VPP's link-local address.
 */

import { isLinkLocal, networkOf, splitPrefix } from '../ip/prefix.js';
import type {
  Route as LinuxRoute,
  NetworkChange,
  NewAddress,
  NewNeighbour,
  NewRoute,
  NextHop,
} from '../linux/network.js';
import { hostTapMac, linkLocalOf, type Uplink } from './uplink.js';

/** RTPROT of the routes that are ours alone: whoever reads the host's own routes off the tap leaves these out. */
export const own_route_protocol = 77;

/** IFA_F_NODAD: the address was verified on the uplink already, and is needed at once. */
const no_duplicate_detection = 0x02;
const permanent = 0x80;
const kernel_protocol = 2;
/** Below 256, that of the kernel's own connected routes. */
const on_link_metric = 64;
/** Room for the encapsulation that cluster traffic may get on its way. */
const cluster_mtu_reduction = 60;

/** Prefixes of the cluster that only VPP knows how to reach, and the address of VPP's side of the tap. */
export interface ClusterPrefixes {
  readonly prefixes: readonly string[];
  readonly tap_address: string;
}

/** Ifindexes of the taps by those of the uplinks that they stand for. */
export type Taps = ReadonlyMap<number, number>;

/** The link-local address that VPP's side of the tap derives from its MAC (RFC 4291, modified EUI-64). */
export function hostTapLinkLocal(index: number): string {
  return `fe80::ca:11ff:fec0:fd${index.toString(16).padStart(2, '0')}`;
}

/** Changes that make the tap what the uplink was. All can be repeated. */
export function hostTapChanges(
  uplink: Uplink,
  taps: Taps,
  tap_link_locals: readonly string[],
  cluster: ClusterPrefixes,
): NetworkChange[] {
  const link = taps.get(uplink.link)!;
  const link_local = linkLocalOf(uplink);
  return [
    { do: 'set_link', link, up: true, mtu: uplink.mtu },
    ...uplink.addresses.map(
      (address): NetworkChange => ({ do: 'replace_address', address: onTap(address, link) }),
    ),
    // The kernel gave the tap a link-local of its own; a DHCPv6 client must see the uplink's alone.
    ...(link_local === undefined
      ? []
      : tap_link_locals
          .filter((own) => !own.startsWith(`${link_local}/`))
          .map((prefix): NetworkChange => ({ do: 'delete_address', address: { link, family: 6, prefix } }))),
    ...neighbours(uplink, link),
    ...gatewayRoutes(uplink, link),
    ...onLinkRoutes(uplink, link),
    ...routesOnTap(uplink, taps),
    ...(uplink.is_main ? clusterRoutes(uplink, link, cluster) : []),
  ];
}

/**
 * Without the lifetimes: no router advertisement and perhaps no DHCP client renews them here, and the node must not lose
 * its address while it is in use. A client that does renew sets its own.
 */
function onTap(
  { valid_s: _, preferred_s: __, ...address }: Uplink['addresses'][number],
  link: number,
): NewAddress {
  const flags = address.family === 6 ? address.flags | no_duplicate_detection : address.flags;
  return { ...address, link, flags };
}

/** Routes in the order that the kernel takes them: those without gateway first. Connected ones came with the addresses. */
function routesOnTap(uplink: Uplink, taps: Taps): NetworkChange[] {
  return [...uplink.routes]
    .filter((route) => route.unsupported === undefined)
    .filter((route) => !(route.protocol === kernel_protocol && isLinkLocal(route.prefix)))
    .sort((a, b) => Number(hasGateway(a)) - Number(hasGateway(b)))
    .map((route): NetworkChange => {
      const { flags: _, nexthop_id: __, expires_s: ___, ...kept } = route;
      const moved: NewRoute = { ...kept, next_hops: route.next_hops.map((hop) => throughTap(hop, taps)) };
      return { do: 'replace_route', route: moved };
    });
}

function throughTap(hop: NextHop, links: ReadonlyMap<number, number>): NextHop {
  return hop.oif === undefined ? hop : { ...hop, oif: links.get(hop.oif) ?? hop.oif };
}

function hasGateway(route: LinuxRoute): boolean {
  return route.next_hops.some((hop) => hop.gateway !== undefined);
}

function neighbours(uplink: Uplink, link: number): NetworkChange[] {
  return [...ip6Gateways(uplink), hostTapLinkLocal(uplink.index)].map((address): NetworkChange => {
    const neighbour: NewNeighbour = {
      link,
      family: 6,
      address,
      mac: hostTapMac(uplink.index),
      state: permanent,
    };
    return { do: 'set_neighbour', neighbour };
  });
}

/** Gateways of IPv6 routes through this uplink. */
function ip6Gateways(uplink: Uplink): string[] {
  const hops = uplink.routes.flatMap((route) => route.next_hops).filter((hop) => hop.oif === uplink.link);
  return [...new Set(hops.flatMap((hop) => hop.gateway ?? []))].filter((gateway) => gateway.includes(':'));
}

/** A gateway is on the link itself: Linux takes no route by a gateway that is reached through another one. */
function gatewayRoutes(uplink: Uplink, link: number): NetworkChange[] {
  return ip6Gateways(uplink)
    .filter((gateway) => !isLinkLocal(gateway))
    .map((gateway) =>
      ownRoute({ family: 6, prefix: `${gateway}/128`, metric: on_link_metric, next_hops: [{ oif: link }] }),
    );
}

function onLinkRoutes(uplink: Uplink, link: number): NetworkChange[] {
  const prefixes = new Set(
    uplink.addresses
      .filter(({ family, prefix }) => family === 6 && !isLinkLocal(prefix) && !prefix.endsWith('/128'))
      .map((address) => networkOf(address.prefix)),
  );
  const next_hops = [{ oif: link, gateway: hostTapLinkLocal(uplink.index) }];
  return [...prefixes].map((prefix) => ownRoute({ family: 6, prefix, metric: on_link_metric, next_hops }));
}

/** Services are reached through VPP whatever routes the host has; the routes go with the tap. */
function clusterRoutes(
  uplink: Uplink,
  link: number,
  { prefixes, tap_address }: ClusterPrefixes,
): NetworkChange[] {
  return prefixes.map((prefix) => {
    const family = prefix.includes(':') ? 6 : 4;
    const gateway = family === 6 ? hostTapLinkLocal(uplink.index) : splitPrefix(tap_address).address;
    return ownRoute({
      family,
      prefix: networkOf(prefix),
      metrics: { mtu: uplink.mtu - cluster_mtu_reduction },
      next_hops: [{ oif: link, gateway, onlink: true }],
    });
  });
}

function ownRoute(route: NewRoute): NetworkChange {
  return { do: 'replace_route', route: { ...route, protocol: own_route_protocol } };
}

/** What the host itself has on the tap by now: a DHCP client, or an administrator, may have changed it since the take-over. */
export function hostOwn(
  uplink: Pick<Uplink, 'link' | 'addresses' | 'routes'>,
  taps: Taps,
  addresses: readonly Uplink['addresses'][number][],
  routes: readonly LinuxRoute[],
): Pick<Uplink, 'addresses' | 'routes'> | undefined {
  const global = addresses.filter((address) => !isLinkLocal(address.prefix));
  // A tap without an address is one that nobody has dressed yet, or one in the middle of a change.
  if (global.length === 0) return undefined;
  const uplinks = new Map([...taps].map(([link, tap]) => [tap, link]));
  const link_local = uplink.addresses.filter((address) => isLinkLocal(address.prefix));
  const ownAddress = (address: Uplink['addresses'][number]): Uplink['addresses'][number] => {
    const before = uplink.addresses.find(({ prefix }) => prefix === address.prefix);
    // On the tap for ever because `onTap` gave it no lifetime: the host's has the one that it had.
    if (address.valid_s === undefined && before?.valid_s !== undefined) return before;
    // That an address of the tap is not verified anew is our wish; the host's was with the uplink.
    const verified = (before?.flags ?? 0) & no_duplicate_detection;
    return { ...address, link: uplink.link, flags: (address.flags & ~no_duplicate_detection) | verified };
  };
  const lifetimeOf = (route: LinuxRoute): Pick<LinuxRoute, 'expires_s'> => {
    const before = uplink.routes.find((each) => isSameRoute(each, route));
    const expires_s = route.expires_s ?? before?.expires_s;
    return expires_s === undefined ? {} : { expires_s };
  };
  return {
    addresses: [...global.map(ownAddress), ...link_local],
    routes: routes
      .filter((route) => route.protocol !== own_route_protocol && !isMulticast(route.prefix))
      .map((route) => ({
        ...route,
        ...lifetimeOf(route),
        next_hops: route.next_hops.map((hop) => throughTap(hop, uplinks)),
      })),
  };
}

/** By what the kernel tells routes apart, apart from their next hops. */
function isSameRoute(a: LinuxRoute, b: LinuxRoute): boolean {
  return a.prefix === b.prefix && a.table === b.table && a.metric === b.metric && a.protocol === b.protocol;
}

/**
 * What the host itself has, in a form that can be compared: without what the kernel adds by itself, and without lifetimes,
 * which run.
 */
export function fingerprint(uplinks: readonly Pick<Uplink, 'addresses' | 'routes'>[]): string {
  const lines = uplinks.flatMap(({ addresses, routes }, at) => [
    ...addresses.map(({ prefix, peer, label }) => JSON.stringify([at, prefix, peer, label])),
    ...routes
      .filter(({ protocol }) => protocol !== kernel_protocol)
      .map(({ flags: _, expires_s: __, next_hops, ...route }) => {
        const hops = next_hops.map(({ flags: ___, ...hop }) => hop);
        return JSON.stringify([at, route, hops]);
      }),
  ]);
  return lines.sort().join('\n');
}

/** The kernel's own multicast routes of IPv6, which no address of ours brings. */
function isMulticast(prefix: string): boolean {
  return prefix.startsWith('ff');
}
