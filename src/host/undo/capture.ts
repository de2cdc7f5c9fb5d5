import { linkLocalOf } from '../../ip/text.js';
import type {
  Address,
  Channels,
  Link,
  Neighbour,
  NetworkNamespace,
  NextHop,
  NexthopObject,
  Route,
} from '../../linux/network.js';
import {
  addingOrder,
  type CapturedRoute,
  inOrderOfNeed,
  isConnected,
  placed,
  RouteIndex,
} from '../../linux/routes.js';
import {
  identityOf,
  type LinkIdentity,
  type UndoNextHop,
  type UndoRoute,
  type UndoStep,
} from './undo-step.js';

/** Everything of a link that moving it, or giving it to VPP, makes Linux forget. */
export interface LinkState {
  readonly link: Link;
  /** In kernel order: the first IPv4 address of a prefix is its primary one, the first of IPv6 the newest. */
  readonly addresses: readonly Address[];
  /** Through the link, of all tables, without those that the kernel makes for addresses by itself (table local). */
  readonly routes: readonly CapturedRoute[];
  /** Not through the link, but from an address that it alone has: they go with the address, or lose it. */
  readonly foreign_routes: readonly CapturedRoute[];
  /** Objects through the link, and groups of such. */
  readonly nexthops: readonly NexthopObject[];
  /** What somebody has set, and the kernel did not learn. */
  readonly neighbours: readonly Neighbour[];
  readonly channels?: Channels;
  /** Other links that a route or a nexthop object names, by index. */
  readonly others: ReadonlyMap<number, LinkIdentity>;
}

const TABLE_LOCAL = 255;
const RTPROT_KERNEL = 2;
const RTPROT_RA = 9;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_PROXY = 0x08;
const NTF_EXT_LEARNED = 0x10;
const RTNH_F_DEAD = 0x01;

/** What a namespace shows, as far as a link's state is told from it. */
export interface HostState {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly nexthops: readonly NexthopObject[];
  readonly neighbours: readonly Neighbour[];
}

/** By its own name or an alternative one. Undefined when there is no such link. */
export function captureLink(namespace: NetworkNamespace, name: string): LinkState | undefined {
  const link = namespace.link(name);
  if (!link) return undefined;
  const state = linkStateOf(link, hostState(namespace));
  const channels = namespace.channels(link.name);
  return channels === undefined ? state : { ...state, channels };
}

/** For as many links as are asked for: a reading costs what the host has. */
export function hostState(namespace: NetworkNamespace): HostState {
  return {
    links: namespace.links(),
    addresses: namespace.addresses(),
    routes: namespace.routes(),
    nexthops: namespace.nexthops(),
    neighbours: namespace.neighbours(),
  };
}

/** Pure; without `channels`. */
export function linkStateOf(link: Link, host: HostState): LinkState {
  const links = new Map(host.links.map((each) => [each.index, each]));
  const all = host.routes.filter((route) => !madeForAddress(route)).map(asTheKernelMadeIt);
  const index = new RouteIndex(all);
  const isOwn = ({ next_hops }: Route): boolean => next_hops.some(({ oif }) => oif === link.index);
  const { own: addresses, only_here } = addressesOf(host.addresses, link.index);
  const isFrom = ({ prefsrc }: Route): boolean => prefsrc !== undefined && only_here.has(prefsrc);
  const withPlace = (routes: readonly Route[], isOwnRoute: (route: Route) => boolean) =>
    placed(routes, isOwnRoute, index).map((route) => truthful(route, links));
  const routes = withPlace(all.filter(isOwn), isOwn);
  const foreign_routes = withPlace(
    all.filter((route) => !isOwn(route) && isFrom(route)),
    isFrom,
  );
  return {
    link,
    addresses,
    routes,
    foreign_routes,
    nexthops: nexthopsOf(host.nexthops, link.index),
    neighbours: host.neighbours.filter(
      (neighbour) => neighbour.link === link.index && isSet(neighbour, addresses),
    ),
    others: otherLinks(links, link, [...routes, ...foreign_routes]),
  };
}

/** One that was given back, and that no router has renewed since, is told as it was. See `portableRoute`. */
function asTheKernelMadeIt(route: Route): Route {
  if (!route.advertised || route.protocol === RTPROT_RA) return route;
  return { ...route, protocol: RTPROT_RA, metric: route.metric - 1 };
}

export function madeForAddress({ table, protocol }: Pick<Route, 'table' | 'protocol'>): boolean {
  return table === TABLE_LOCAL && protocol === RTPROT_KERNEL;
}

function addressesOf(
  all: readonly Address[],
  link: number,
): { own: Address[]; only_here: ReadonlySet<string> } {
  const text = ({ prefix }: Address): string => prefix.split('/')[0]!;
  const elsewhere = new Set(all.filter((address) => address.link !== link).map(text));
  const own = all.filter((address) => address.link === link);
  return { own, only_here: new Set(own.map(text).filter((address) => !elsewhere.has(address))) };
}

/** The kernel also shows a next hop as dead that only lacks a carrier. Such a one can be added again. */
function truthful(route: CapturedRoute, links: ReadonlyMap<number, Link>): CapturedRoute {
  const next_hops = route.next_hops.map(({ flags = 0, ...hop }): NextHop => {
    const is_down = links.get(hop.oif ?? 0)?.up === false;
    const told = is_down ? flags | RTNH_F_DEAD : flags & ~RTNH_F_DEAD;
    return told === 0 ? hop : { ...hop, flags: told };
  });
  return { ...route, next_hops };
}

/** A next hop whose link is down cannot be added before the link is up. */
export function isDead({ flags = 0 }: NextHop): boolean {
  return (flags & RTNH_F_DEAD) !== 0;
}

function nexthopsOf(all: readonly NexthopObject[], link: number): NexthopObject[] {
  const through = all.filter(({ hop }) => hop?.oif === link);
  const ids = new Set(through.map(({ id }) => id));
  return [...through, ...all.filter(({ group }) => group?.some(({ id }) => ids.has(id)))];
}

function isSet({ state, flags, address }: Neighbour, addresses: readonly Address[]): boolean {
  if (flags & (NTF_PROXY | NTF_EXT_LEARNED) || state & NUD_PERMANENT) return true;
  return (state & NUD_NOARP) !== 0 && !isForMany(address, addresses);
}

/** The kernel notes groups and broadcasts by itself. */
function isForMany(address: string, addresses: readonly Address[]): boolean {
  if (/^(ff|22[4-9]\.|23\d\.|255\.255\.255\.255$|0\.0\.0\.0$|::$)/.test(address)) return true;
  return addresses.some(({ broadcast }) => broadcast === address);
}

function otherLinks(
  links: ReadonlyMap<number, Link>,
  own: Link,
  routes: readonly Route[],
): ReadonlyMap<number, LinkIdentity> {
  const others = new Map<number, LinkIdentity>();
  for (const { oif } of routes.flatMap((route) => route.next_hops)) {
    if (oif === undefined || oif === own.index || others.has(oif)) continue;
    const link = links.get(oif);
    if (link) others.set(oif, identityOf(link));
  }
  return others;
}

/**
 * The steps that give the link its state back once it is there again, oldest first: undo takes them from the end.
 * Routes with `unsupported` attributes are left out, for a route that does something else is worse than none: tell the user.
 */
export function restoreSteps(state: LinkState): UndoStep[] {
  const { link, addresses, routes, foreign_routes, nexthops, neighbours } = state;
  const identity = identityOf(link);
  const { up, mtu, promisc, addrgen_mode } = link;
  const is_natural = makesWhatIsThere(link, addresses);
  const forward: UndoStep[] = [
    {
      kind: 'set_link',
      link: identity,
      up,
      mtu,
      promisc,
      ...(addrgen_mode === undefined ? {} : { addrgen_mode: is_natural ? addrgen_mode : BY_NOBODY }),
    },
    ...addingOrder(addresses).map(
      ({ link: _, ...address }): UndoStep => ({ kind: 'add_address', link: identity, address }),
    ),
    ...nexthops
      .filter(({ unsupported }) => unsupported === undefined)
      .map(
        (nexthop): UndoStep => ({
          kind: 'set_nexthop',
          nexthop: portableNexthop(nexthop, identity),
          of: link.name,
        }),
      ),
    ...inOrderOfNeed([...routes, ...foreign_routes].filter(({ unsupported }) => unsupported === undefined))
      .map((route) => portableRoute(route, identity, state))
      .map((route): UndoStep => ({ kind: 'add_route', route, of: link.name })),
    ...neighbours.map(
      ({ link: _, ...neighbour }): UndoStep => ({ kind: 'set_neighbour', link: identity, ...neighbour }),
    ),
    ...(addrgen_mode === undefined || is_natural
      ? []
      : [{ kind: 'addrgen_mode', link: identity, mode: addrgen_mode } as const]),
    {
      kind: 'connected_routes',
      link: identity,
      routes: routes.filter(isConnected).map((route) => portableRoute(route, identity, state)),
      addresses: addresses.map(({ prefix, peer }) => ({ prefix, ...(peer !== undefined && { peer }) })),
    },
  ];
  return forward.reverse();
}

/** IN6_ADDR_GEN_MODE_EUI64, _NONE, _RANDOM. */
const FROM_MAC = 0;
const BY_NOBODY = 1;
const AT_RANDOM = 3;

/**
 * Does the kernel make no other link-local address than the link has? One may have been deleted, or made from another MAC. Without a carrier it
 * has made none yet.
 */
function makesWhatIsThere({ addrgen_mode, mac, running }: Link, addresses: readonly Address[]): boolean {
  if (!running) return true;
  if (addrgen_mode === FROM_MAC) return addresses.some(({ prefix }) => prefix === `${linkLocalOf(mac)}/64`);
  return addrgen_mode !== AT_RANDOM;
}

function portableNexthop(
  { hop, ...rest }: NexthopObject,
  identity: LinkIdentity,
): Extract<UndoStep, { kind: 'set_nexthop' }>['nexthop'] {
  if (hop === undefined) return rest;
  const { oif: _, flags: __, ...way } = hop;
  return { ...rest, hop: { ...way, link: identity } };
}

function portableRoute(route: CapturedRoute, identity: LinkIdentity, { link, others }: LinkState): UndoRoute {
  const { flags: _, ...rest } = route;
  // A next hop of a multipath route whose link is down could not be added again.
  const alive = route.next_hops.filter((hop) => !isDead(hop) || route.next_hops.length === 1);
  const next_hops = alive.map(({ oif, flags: ___, ...hop }): UndoNextHop => {
    const through = oif === link.index ? identity : oif === undefined ? undefined : others.get(oif);
    return through ? { ...hop, link: through } : hop;
  });
  // The kernel drops such a one of another metric when that router speaks next, and makes its own.
  const behind = rest.advertised ? { metric: rest.metric + 1 } : {};
  return { ...rest, ...behind, next_hops };
}
