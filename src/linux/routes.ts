/** Routes beside each other: when two are the same, in which order they are added, and what puts one among others. Pure. */
import { isGroup, isLinkLocal, networkOf } from '../ip/prefix.js';
import type { Family } from '../ip/text.js';
import type { Address, NetworkChange, NewRoute, NextHop, NexthopObject, Route } from './network.js';

const table_main = 254;
const table_local = 255;
const kernel_protocol = 2;
const default_metric_ip6 = 1024;

/** A route, and where it stands among those with its prefix and metric. */
export type PlacedRoute = NewRoute & {
  /** Before those of other links. IPv4 alone has such an order, and uses the first. */
  readonly first?: boolean;
};

/** What the kernel tells routes apart by, apart from where they lead. */
export function placeOf(route: NewRoute): string {
  const { family, prefix, table = table_main, source = '', tos = 0 } = route;
  return `${family} ${table} ${prefix} ${source} ${tos} ${metricOf(family, route.metric)}`;
}

function metricOf(family: Family, metric: number | undefined): number {
  return metric || (family === 6 ? default_metric_ip6 : 0);
}

/** A route as it was found, with its place. */
export type CapturedRoute = Route & Pick<PlacedRoute, 'first'>;

/** By place. */
export class RouteIndex {
  readonly #places = new Map<string, Route[]>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const place = placeOf(route);
      const there = this.#places.get(place);
      if (there) there.push(route);
      else this.#places.set(place, [route]);
    }
  }

  /** In the kernel's order. */
  at(route: NewRoute): readonly Route[] {
    return this.#places.get(placeOf(route)) ?? [];
  }
}

/**
 * The changes that put `route` among the `rivals` that are at its place, in the kernel's order. None when it is there. A route
 * through another link is never removed or replaced, but for one of IPv6 that is the same without what it lost with an address
 * (its source) or a link (a next hop).
 */
export function placing(route: PlacedRoute, rivals: readonly Route[]): NetworkChange[] {
  const { first = false, ...wanted } = route;
  return wanted.family === 4 ? placing4(wanted, first, rivals) : placing6(wanted, rivals);
}

function placing4(wanted: NewRoute, first: boolean, rivals: readonly Route[]): NetworkChange[] {
  const at = rivals.findIndex((rival) => isSameRoute(rival, wanted));
  const put: NetworkChange = {
    do: first && rivals.length > 0 ? 'prepend_route' : 'append_route',
    route: wanted,
  };
  if (at === -1) return [put];
  const links = linksOf(wanted);
  const is_behind =
    first && rivals.slice(0, at).some((rival) => [...linksOf(rival)].some((oif) => !links.has(oif)));
  return is_behind ? [{ do: 'delete_route', route: wanted }, put] : [];
}

function placing6(wanted: NewRoute, rivals: readonly Route[]): NetworkChange[] {
  const hops = new Set(hopsOf(wanted));
  const replace = (rival: Route): NetworkChange[] =>
    rivals.length === 1
      ? [{ do: 'replace_route', route: wanted }]
      : [
          { do: 'delete_route', route: rival },
          { do: 'append_route', route: wanted },
        ];
  const holder = rivals.find((rival) => isSubset(hops, new Set(hopsOf(rival))));
  if (holder !== undefined) {
    const is_whole = hopsOf(holder).length === hops.size;
    return is_whole && holder.prefsrc !== wanted.prefsrc && wanted.prefsrc !== undefined
      ? replace(holder)
      : [];
  }
  // The next hops of an IPv6 route go one by one, each with its link.
  const rest = rivals.find(
    ({ next_hops }) => next_hops.length > 0 && isSubset(new Set(next_hops.map(hopKey)), hops),
  );
  return rest === undefined ? [{ do: 'append_route', route: wanted }] : replace(rest);
}

function isSubset(part: ReadonlySet<string>, whole: ReadonlySet<string>): boolean {
  return part.size > 0 && [...part].every((each) => whole.has(each));
}

function hopsOf({ nexthop_id, next_hops = [] }: NewRoute): string[] {
  return nexthop_id === undefined ? next_hops.map(hopKey) : [`object ${nexthop_id}`];
}

function hopKey({ oif, gateway }: NextHop): string {
  return `${oif} ${gateway}`;
}

function linksOf({ next_hops = [] }: NewRoute): ReadonlySet<number | undefined> {
  return new Set(next_hops.map(({ oif }) => oif));
}

/** The very same, by all that is said when one is added; the kernel chooses a scope that is not said. */
export function isSameRoute(a: NewRoute, b: NewRoute): boolean {
  const same_scope = a.scope === undefined || b.scope === undefined || a.scope === b.scope;
  return same_scope && placeOf(a) === placeOf(b) && textOf(a) === textOf(b);
}

function textOf(route: NewRoute): string {
  const { nexthop_id, type = 'unicast', protocol = 3, prefsrc, metrics = {}, congctl } = route;
  const hops = (nexthop_id === undefined ? (route.next_hops ?? []) : []).map((hop) => [
    hop.oif,
    hop.gateway,
    hop.onlink ?? false,
    hop.weight ?? 1,
    hop.realm,
    hop.encap?.type,
    hop.encap?.data,
  ]);
  const named = Object.entries(metrics).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([nexthop_id, type, protocol, prefsrc, named, congctl, hops]);
}

/**
 * In the order in which the kernel takes them: a gateway must be reachable when its route is added, so direct routes come first, then the
 * narrow before the wide. Those that stand in front of others are put there one by one, the last of them first.
 */
export function inOrderOfNeed<T extends PlacedRoute>(routes: readonly T[]): T[] {
  const keys = new Map(
    routes.map((route, at) => {
      const needs = (route.next_hops ?? []).some((hop) => hop.gateway !== undefined) ? 1 : 0;
      const length = Number(route.prefix.split('/')[1]);
      return [route, [needs, -length, route.first ? 0 : 1, route.first ? -at : at]] as const;
    }),
  );
  return [...routes].sort((a, b) => {
    const [x, y] = [keys.get(a)!, keys.get(b)!];
    const at = x.findIndex((part, i) => part !== y[i]);
    return at === -1 ? 0 : x[at]! - y[at]!;
  });
}

/**
 * The routes of `link` as they have to be put back: with their place before those of other links. `all` is what the kernel shows, in its
 * order.
 */
export function placed(
  routes: readonly Route[],
  isOwn: (route: Route) => boolean,
  all: RouteIndex,
): CapturedRoute[] {
  return routes.map((route) => {
    if (route.family === 6) return route;
    const rivals = all.at(route);
    // As nearly all of a large table.
    if (rivals.length < 2) return route;
    const at = rivals.findIndex((rival) => isSameRoute(rival, route));
    const others_before = rivals.slice(0, at).some((rival) => !isOwn(rival));
    const others_behind = rivals.slice(at + 1).some((rival) => !isOwn(rival));
    return others_behind && !others_before ? { ...route, first: true } : route;
  });
}

/** Made by the kernel for an address. Those of link-local ones and of groups come late, with the carrier. */
export function isConnected({ protocol, table = table_main, prefix, next_hops = [] }: NewRoute): boolean {
  return (
    protocol === kernel_protocol &&
    table !== table_local &&
    !isLinkLocal(prefix) &&
    !isGroup(prefix) &&
    next_hops.every(({ gateway }) => gateway === undefined)
  );
}

/** What the kernel makes a connected route from. */
export type Prefixed = Pick<Address, 'prefix' | 'peer'>;

/**
 * Connected routes among `present` that are none of `wanted`, and that the kernel has made for addresses of `own` alone. `there`: all addresses of
 * the link by now. One that somebody else has brought, a DHCP client say, is to have its route.
 */
export function surplusConnected(
  present: readonly Route[],
  wanted: readonly NewRoute[],
  own: readonly Prefixed[],
  there: readonly Prefixed[],
): Route[] {
  const local = ({ prefix }: Prefixed): string => prefix.split('/')[0]!;
  const sources = new Set(own.map(local));
  const networks = new Set(own.flatMap(connectedPrefixes));
  const others = there.filter((address) => !sources.has(local(address)));
  const used = new Set(others.flatMap(connectedPrefixes));
  const isOurs = ({ prefsrc, prefix }: Route): boolean =>
    prefsrc === undefined ? networks.has(prefix) && !used.has(prefix) : sources.has(prefsrc);
  return present.filter(
    (route) => isConnected(route) && isOurs(route) && !wanted.some((each) => isSameRoute(each, route)),
  );
}

/** To where the kernel makes a route for an address, if it is to make one. */
export function connectedPrefixes({ prefix, peer }: Prefixed): string[] {
  if (peer === undefined) return [networkOf(prefix)];
  const [, length] = prefix.split('/');
  return [
    networkOf(prefix),
    networkOf(`${peer}/${length}`),
    networkOf(`${peer}/${peer.includes(':') ? 128 : 32}`),
  ];
}

/** The flags of a nexthop object come and go with its link. */
export function isSameNexthop(a: NexthopObject, b: NexthopObject): boolean {
  const text = ({ id, family, protocol, hop, blackhole, group }: NexthopObject): string => {
    const { oif, gateway, onlink, encap } = hop ?? {};
    return JSON.stringify([
      id,
      family,
      protocol ?? 0,
      oif,
      gateway,
      onlink,
      encap?.type,
      encap?.data,
      blackhole,
      group,
    ]);
  };
  return text(a) === text(b);
}

/** The kernel lists IPv4 addresses as they came, and IPv6 ones with the newest first. */
export function addingOrder(addresses: readonly Address[]): Address[] {
  const of = (family: Family): Address[] => addresses.filter((address) => address.family === family);
  return [...of(4), ...of(6).reverse()];
}
