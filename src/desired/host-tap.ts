/**
 * What Linux gets on the tap that takes the uplink's place: its addresses, its routes, and what the host needs to reach
 * its IPv6 neighbours through VPP.
 *
 * IPv4 neighbours are answered by VPP's proxy ARP. For IPv6 VPP only proxies addresses that it is told, so the host is
 * told instead: gateways are permanent neighbours with VPP's MAC, and a better route than the connected one sends
 * on-link prefixes to VPP's link-local address.
 */

import { isGroup, isLinkLocal, networkOf, splitPrefix } from '../ip/prefix.js';
import { linkLocalOf, parsePrefix } from '../ip/text.js';
import type {
  Address,
  Link,
  Route as LinuxRoute,
  Neighbour,
  NetworkChange,
  NewAddress,
  NextHop,
  NexthopObject,
} from '../linux/network.js';
import { addingOrder, type CapturedRoute, inOrderOfNeed, type PlacedRoute } from '../linux/routes.js';
import { hostTapMac, type Uplink } from './node-inputs.js';

/** RTPROT of the routes that are ours alone: whoever reads the host's own routes off the tap leaves these out. */
export const own_route_protocol = 77;

/** IFA_F_NODAD: the address was verified on the uplink already, and is needed at once. */
const no_duplicate_detection = 0x02;
const permanent = 0x80;
const temporary = 0x01;
const duplicate = 0x08;
const deprecated = 0x20;
const kernel_protocol = 2;
/** RTPROT_RA. */
const router_protocol = 9;
/** IP6_RT_PRIO_USER: of the kernel's own routes by routers. */
const router_metric = 1024;
/** IFA_F_NOPREFIXROUTE, linux/if_addr.h. */
const no_prefix_route = 0x200;
/** IN6_ADDR_GEN_MODE_EUI64, _NONE. */
const from_mac = 0;
const by_nobody = 1;
/** Below 256, that of the kernel's own connected routes. */
const on_link_metric = 64;
/** Room for the encapsulation that cluster traffic may get on its way. */
const cluster_mtu_reduction = 60;
/** Routes of ServiceCIDRs; as many as VPP has. */
const service_prefixes_max = 256;

/** Prefixes of the cluster that only VPP knows how to reach, and the address of VPP's side of the tap. */
export interface ClusterPrefixes {
  /** Of services, where no ServiceCIDR says them. */
  readonly prefixes: readonly string[];
  /** Of ServiceCIDRs, canonical. Undefined: not known yet. What there are of their routes stays. */
  readonly services?: readonly string[];
  /** Undefined: not known yet. What there are of their routes stays. */
  readonly pods?: PodPrefixes;
  readonly tap_address: string;
  /** Networks that the host's other links are in, as a management card's. */
  readonly other_networks?: readonly string[];
}

/** Prefixes of Calico's pools, canonical. */
export interface PodPrefixes {
  readonly prefixes: readonly string[];
  /** Some of it leaves this node in a tunnel: packets have to be smaller. */
  readonly encapsulated: boolean;
}

/** By the name of an uplink whose tap the kernel itself hears advertisements on: the router in whose name VPP speaks there. */
export type Speakers = ReadonlyMap<string, string>;

/** Ifindexes of the taps by those of the uplinks that they stand for. */
export type Taps = ReadonlyMap<number, number>;

/** The link-local address that VPP's side of the tap derives from its MAC (RFC 4291, modified EUI-64). */
export function hostTapLinkLocal(index: number): string {
  return `fe80::ca:11ff:fec0:fd${index.toString(16).padStart(2, '0')}`;
}

/** What the tap has of the device itself. Its own indices and names of the kernel's making differ. */
export function tapLikeLink(link: Link, tap: Link, addresses: readonly Address[]): NetworkChange[] {
  const { index, altnames } = tap;
  const wanted = {
    txqlen: link.txqlen,
    group: link.group ?? 0,
    alias: link.alias ?? '',
    // A link-local address that was made otherwise would be another one here.
    addrgen_mode: addresses.some(({ prefix }) => prefix.startsWith(`${linkLocalOf(link.mac)}/`))
      ? from_mac
      : by_nobody,
  };
  const there = { ...tap, group: tap.group ?? 0, alias: tap.alias ?? '' };
  return [
    ...(Object.keys(wanted) as (keyof typeof wanted)[])
      .filter((key) => there[key] !== wanted[key])
      .map((key): NetworkChange => ({ do: 'set_link', link: index, [key]: wanted[key] })),
    ...link.altnames
      .filter((altname) => !altnames.includes(altname))
      .map((altname): NetworkChange => ({ do: 'add_altname', link: index, altname })),
  ];
}

/** Changes that make the tap what the uplink was, up to its routes. All can be repeated. */
export function hostTapChanges(
  uplink: Uplink,
  taps: Taps,
  tap_link_locals: readonly string[],
): NetworkChange[] {
  const link = taps.get(uplink.link)!;
  const link_locals = new Set(uplink.addresses.map(({ prefix }) => prefix).filter(isLinkLocal));
  return [
    { do: 'set_link', link, up: true, mtu: uplink.mtu },
    // The kernel gave the tap a link-local of its own; a DHCPv6 client must see the uplink's alone.
    ...tap_link_locals
      .filter((own) => !link_locals.has(own))
      .map((prefix): NetworkChange => ({ do: 'delete_address', address: { link, family: 6, prefix } })),
    ...addingOrder(uplink.addresses.filter(({ flags }) => !(flags & duplicate))).map(
      (address): NetworkChange => ({ do: 'replace_address', address: onTap(address, link) }),
    ),
    ...uplink.neighbours.map(
      (neighbour): NetworkChange => ({ do: 'set_neighbour', neighbour: behindVpp(neighbour, uplink, link) }),
    ),
    ...neighbours(uplink, link),
  ];
}

/** Routes on the tap in the order that the kernel takes them. `foreign`: those of other links that went with an address. */
export function hostTapRoutes(
  uplink: Uplink,
  taps: Taps,
  foreign: readonly CapturedRoute[],
  cluster: ClusterPrefixes,
  speakers: Speakers = new Map(),
): PlacedRoute[] {
  const link = taps.get(uplink.link)!;
  const speaker = speakers.get(uplink.name);
  return [
    ...gatewayRoutes(uplink, link),
    ...onLinkRoutes(uplink, link),
    ...routesOnTap(
      [...uplink.routes, ...foreign].filter(
        (route) => !comesByAddress(route, uplink) && !isDefaultBy(route, speaker),
      ),
      taps,
    ),
    ...(speaker === undefined ? [] : [behindThatOf(speaker, link)]),
    ...(uplink.is_main ? clusterRoutes(uplink, link, cluster) : []),
  ];
}

/** A default route that was made of an advertisement of this router. */
export function isDefaultBy(
  route: Pick<LinuxRoute, 'protocol' | 'prefix' | 'next_hops'>,
  router?: string,
): boolean {
  const { protocol, prefix, next_hops } = route;
  return (
    protocol === router_protocol && prefix === '::/0' && next_hops.every(({ gateway }) => gateway === router)
  );
}

/**
 * The kernel takes nothing of an advertisement, not even its prefixes, while there is a route of somebody else in the place of the one that
 * it would make. Ours stands behind: for as long as there is none.
 */
function behindThatOf(router: string, link: number): PlacedRoute {
  const next_hops = [{ oif: link, gateway: router }];
  return ownRoute({ family: 6, prefix: '::/0', metric: router_metric + 1, next_hops });
}

/** Objects first, groups last: a group has to find its members. */
export function nexthopsOnTaps(nexthops: readonly NexthopObject[], taps: Taps): NexthopObject[] {
  const usable = nexthops.filter(({ unsupported }) => unsupported === undefined);
  const moved = usable.map((nexthop) =>
    nexthop.hop === undefined ? nexthop : { ...nexthop, hop: throughTap(nexthop.hop, taps) },
  );
  return [...moved.filter(({ group }) => !group), ...moved.filter(({ group }) => group)];
}

/**
 * Without the lifetimes: no router advertisement and perhaps no DHCP client renews them here, and the node must not lose
 * its address while it is in use. A client that does renew sets its own. What was deprecated is.
 */
function onTap({ valid_s: _, preferred_s, ...address }: Address, link: number): NewAddress {
  const flags = address.family === 6 ? address.flags | no_duplicate_detection : address.flags;
  return { ...address, link, flags, ...(preferred_s === 0 && { preferred_s }) };
}

/** All packets go to VPP, which knows the neighbour's own MAC. What the host answers for it has none. */
function behindVpp(neighbour: Neighbour, uplink: Uplink, link: number): Neighbour {
  return { ...neighbour, link, ...(neighbour.mac !== undefined && { mac: hostTapMac(uplink.index) }) };
}

/**
 * The kernel makes the route of link-local addresses when the first of them comes, unless whoever adds it wants none, as NetworkManager
 * does, which adds a route of its own.
 */
function comesByAddress({ protocol, prefix }: CapturedRoute, { addresses }: Uplink): boolean {
  if (protocol !== kernel_protocol || !isLinkLocal(prefix)) return false;
  return addresses.some(({ prefix, flags }) => isLinkLocal(prefix) && (flags & no_prefix_route) === 0);
}

function routesOnTap(routes: readonly CapturedRoute[], taps: Taps): PlacedRoute[] {
  return inOrderOfNeed(routes.filter((route) => route.unsupported === undefined)).map(
    ({ flags: _, expires_s: __, advertised: ___, ...kept }) => ({
      ...kept,
      next_hops: kept.next_hops.map((hop) => throughTap(hop, taps)),
    }),
  );
}

function throughTap(hop: NextHop, links: ReadonlyMap<number, number>): NextHop {
  return hop.oif === undefined ? hop : { ...hop, oif: links.get(hop.oif) ?? hop.oif };
}

/** Where the host has no IPv6 on the uplink, it needs no neighbours. */
function neighbours(uplink: Uplink, link: number): NetworkChange[] {
  if (!hasIp6(uplink)) return [];
  return [...ip6Gateways(uplink), hostTapLinkLocal(uplink.index)].map((address): NetworkChange => {
    const mac = hostTapMac(uplink.index);
    return { do: 'set_neighbour', neighbour: { link, family: 6, address, mac, state: permanent } };
  });
}

function hasIp6({ addresses }: Uplink): boolean {
  return addresses.some(({ family }) => family === 6);
}

/** Gateways of IPv6 routes through this uplink. */
function ip6Gateways(uplink: Uplink): string[] {
  const hops = uplink.routes.flatMap((route) => route.next_hops).filter((hop) => hop.oif === uplink.link);
  return [...new Set(hops.flatMap((hop) => hop.gateway ?? []))].filter((gateway) => gateway.includes(':'));
}

/** A gateway is on the link itself: Linux takes no route by a gateway that is reached through another one. */
function gatewayRoutes(uplink: Uplink, link: number): PlacedRoute[] {
  return ip6Gateways(uplink)
    .filter((gateway) => !isLinkLocal(gateway))
    .map((gateway) =>
      ownRoute({ family: 6, prefix: `${gateway}/128`, metric: on_link_metric, next_hops: [{ oif: link }] }),
    );
}

function onLinkRoutes(uplink: Uplink, link: number): PlacedRoute[] {
  const prefixes = new Set(
    uplink.addresses
      .filter(({ family, prefix }) => family === 6 && !isLinkLocal(prefix) && !prefix.endsWith('/128'))
      .map((address) => networkOf(address.prefix)),
  );
  const next_hops = [{ oif: link, gateway: hostTapLinkLocal(uplink.index) }];
  return [...prefixes].map((prefix) => ownRoute({ family: 6, prefix, metric: on_link_metric, next_hops }));
}

/**
 * Services and pods are reached through VPP whatever routes the host has: before those of IPv4, and with a better metric than those of IPv6, which
 * would be joined with ours. The routes go with the tap.
 */
function clusterRoutes(uplink: Uplink, link: number, cluster: ClusterPrefixes): PlacedRoute[] {
  const { pods, tap_address } = cluster;
  const families = hasIp6(uplink) ? [4, 6] : [4];
  const reduced_mtu = uplink.mtu - cluster_mtu_reduction;
  const on_link = [...uplink.addresses.map(({ prefix }) => prefix), ...(cluster.other_networks ?? [])];
  const of_services = servicesOf(cluster)
    .filter((prefix) => isApart(prefix, on_link))
    .slice(0, service_prefixes_max);
  const mtus = new Map(of_services.map((prefix) => [prefix, reduced_mtu]));
  for (const prefix of pods?.prefixes ?? [])
    if (!mtus.has(prefix) && isApart(prefix, on_link))
      mtus.set(prefix, pods?.encapsulated ? reduced_mtu : uplink.mtu);
  return [...mtus]
    .map(([prefix, mtu]) => ({ prefix, mtu, family: prefix.includes(':') ? 6 : 4 }) as const)
    .filter(({ family }) => families.includes(family))
    .map(({ prefix, mtu, family }) => {
      const gateway = family === 6 ? hostTapLinkLocal(uplink.index) : splitPrefix(tap_address).address;
      return ownRoute({
        family,
        prefix,
        ...(family === 6 ? { metric: on_link_metric } : { first: true }),
        // Never odd: VPP damages segments of an odd length when it cuts them for a tunnel (docs/vpp-notes.md).
        metrics: { mtu: mtu - (mtu % 2) },
        next_hops: [{ oif: link, gateway, onlink: true }],
      });
    });
}

/** Of our routes on the tap these alone say how large a packet may be. */
export function isClusterRoute({ protocol, metrics }: LinuxRoute): boolean {
  return protocol === own_route_protocol && metrics?.mtu !== undefined;
}

function servicesOf({ services = [], prefixes }: ClusterPrefixes): readonly string[] {
  return services.length > 0 ? services : prefixes.map(networkOf);
}

/** Prefixes of the cluster to which the host gets no route, since they lie in a network of another link of its. */
export function withinOtherNetworks(cluster: ClusterPrefixes): string[] {
  const all = [...servicesOf(cluster), ...(cluster.pods?.prefixes ?? [])];
  const { other_networks = [] } = cluster;
  return [...new Set(all)].filter((prefix) => isApart(prefix, []) && !isApart(prefix, other_networks));
}

/**
 * What lies on a link is reached as all of the link is, whoever calls it a pool or a prefix of services; a route to it would come before that by
 * which the host finds its gateway. One that is a default route says nothing.
 */
function isApart(prefix: string, on_link: readonly string[]): boolean {
  const { address, length, family } = parsePrefix(prefix);
  if (length === 0) return false;
  return !on_link.some((own) => {
    const { length: own_length, family: own_family } = parsePrefix(own);
    return (
      own_family === family &&
      own_length <= length &&
      networkOf(`${address}/${own_length}`) === networkOf(own)
    );
  });
}

function ownRoute(route: PlacedRoute): PlacedRoute {
  return { ...route, protocol: own_route_protocol };
}

/** What follows of a captured link from what its tap has by now. */
export interface HostOwn {
  readonly addresses: readonly Address[];
  readonly routes: readonly CapturedRoute[];
  readonly foreign_routes: readonly CapturedRoute[];
  readonly nexthops: readonly NexthopObject[];
  readonly neighbours: readonly Neighbour[];
}

/** What the host itself has on the tap by now: a DHCP client, or an administrator, may have changed it since the take-over. */
export function hostOwn(
  uplink: Pick<Uplink, 'link' | 'index'> & HostOwn,
  taps: Taps,
  tap: HostOwn,
): HostOwn | undefined {
  const global = tap.addresses.filter((address) => !isLinkLocal(address.prefix));
  // A tap without an address is one that nobody has dressed yet, or one in the middle of a change.
  if (global.length === 0) return undefined;
  const uplinks = new Map([...taps].map(([link, tap_link]) => [tap_link, link]));
  const kept = uplink.addresses.filter(({ prefix, flags }) => isLinkLocal(prefix) || flags & duplicate);
  const ownAddress = (address: Address): Address => {
    const before = uplink.addresses.find(({ prefix }) => prefix === address.prefix);
    // On the tap for ever because `onTap` gave it no lifetime: the host's has the one that it had.
    if (address.valid_s === undefined && before?.valid_s !== undefined) return before;
    // That an address of the tap is not verified anew is our wish; the host's was with the uplink.
    const own_flags =
      (before?.flags ?? 0) & (no_duplicate_detection | (address.family === 6 ? temporary : 0));
    return { ...address, link: uplink.link, flags: (address.flags & ~no_duplicate_detection) | own_flags };
  };
  // A table may have routes by the ten thousand.
  const known = new Map([...uplink.routes].reverse().map((route) => [routeKey(route), route]));
  const lifetimeOf = (route: LinuxRoute): Pick<LinuxRoute, 'expires_s' | 'advertised'> => {
    const before = known.get(routeKey(route));
    const expires_s = route.expires_s ?? before?.expires_s;
    return {
      ...(expires_s !== undefined && { expires_s }),
      ...((route.advertised || before?.advertised) && { advertised: true }),
    };
  };
  const ownRoutes = (routes: readonly CapturedRoute[]): CapturedRoute[] =>
    routes
      // The kernel's own routes to groups: no address of ours brings them.
      .filter((route) => route.protocol !== own_route_protocol && !isGroup(route.prefix))
      .map((route) => ({
        ...route,
        ...lifetimeOf(route),
        next_hops: route.next_hops.map((hop) => throughTap(hop, uplinks)),
      }));
  // Ours stands in for the default route that the kernel is about to make of an advertisement: the host has one.
  const defaults = tap.routes.filter(({ prefix }) => prefix === '::/0');
  const awaited = uplink.routes.filter(
    (route) =>
      defaults.some((ours) => ours.protocol === own_route_protocol && standsFor(ours, route)) &&
      !defaults.some((there) => isDefaultBy(there, route.next_hops[0]?.gateway)),
  );
  return {
    addresses: [...global.map(ownAddress), ...kept],
    routes: [...ownRoutes(tap.routes), ...awaited],
    foreign_routes: ownRoutes(tap.foreign_routes),
    nexthops: tap.nexthops.map((nexthop) =>
      nexthop.hop === undefined ? nexthop : { ...nexthop, hop: throughTap(nexthop.hop, uplinks) },
    ),
    neighbours: tap.neighbours.flatMap((neighbour) => ownNeighbour(neighbour, uplink)),
  };
}

function standsFor(ours: LinuxRoute, route: CapturedRoute): boolean {
  const [hop] = ours.next_hops;
  return ours.prefix === '::/0' && ours.metric === router_metric + 1 && isDefaultBy(route, hop?.gateway);
}

/** Those with VPP's MAC are the host's with their own one, or ours alone. */
function ownNeighbour(neighbour: Neighbour, uplink: Pick<Uplink, 'link' | 'index'> & HostOwn): Neighbour[] {
  const link = { link: uplink.link };
  if (neighbour.mac !== hostTapMac(uplink.index)) return [{ ...neighbour, ...link }];
  return uplink.neighbours.filter(({ address, mac }) => address === neighbour.address && mac !== undefined);
}

/** By what the kernel tells routes apart, apart from their next hops. */
function routeKey({ prefix, table, metric, protocol }: LinuxRoute): string {
  return `${prefix} ${table} ${metric} ${protocol}`;
}

/**
 * What the host itself has, in a form that can be compared: without what the kernel adds by itself, and without lifetimes,
 * which run.
 */
export function fingerprint(
  uplinks: readonly (HostOwn & { readonly host_addresses: readonly string[] })[],
): string {
  const lines = uplinks.flatMap((uplink, at) => {
    const { addresses, routes, foreign_routes, nexthops, neighbours, host_addresses } = uplink;
    return [
      ...addresses.map(({ prefix, peer, label, flags }) =>
        JSON.stringify([at, prefix, peer, label, (flags & deprecated) !== 0]),
      ),
      ...[...routes, ...foreign_routes]
        .filter(({ protocol }) => protocol !== kernel_protocol)
        .map(({ flags: _, expires_s: __, advertised: ____, next_hops, ...route }) => {
          const hops = next_hops.map(({ flags: ___, ...hop }) => hop);
          return JSON.stringify([at, route, hops]);
        }),
      ...nexthops.map(({ hop: { flags: _, ...hop } = {}, ...nexthop }) => JSON.stringify([at, nexthop, hop])),
      ...neighbours.map(({ address, mac, flags }) => JSON.stringify([at, address, mac, flags])),
      ...host_addresses.map((address) => JSON.stringify([at, address])),
    ];
  });
  return lines.sort().join('\n');
}
