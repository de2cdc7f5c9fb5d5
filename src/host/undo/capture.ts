import type { Address, Channels, Link, Neighbour, NetworkNamespace, Route } from '../../linux/network.js';
import { identityOf, type LinkIdentity, type UndoNextHop, type UndoStep } from './undo-step.js';

/** Everything of a link that moving it, or giving it to VPP, makes Linux forget. */
export interface LinkState {
  readonly link: Link;
  /** In kernel order: the first IPv4 address of a prefix is its primary one. */
  readonly addresses: readonly Address[];
  /** Of all tables, without those that the kernel makes for addresses by itself (table local). */
  readonly routes: readonly Route[];
  /** Permanent ones. */
  readonly neighbours: readonly Neighbour[];
  readonly channels?: Channels;
  /** Links that share a multipath route with this one, by index. */
  readonly others: ReadonlyMap<number, LinkIdentity>;
}

const TABLE_LOCAL = 255;
const RTPROT_KERNEL = 2;
const NUD_PERMANENT = 0x80;
const RTNH_F_DEAD = 0x01;
/** A temporary (privacy) IPv6 address; for IPv4 the same bit says "secondary". */
const IFA_F_TEMPORARY = 0x01;

/** Undefined when there is no such link. */
export function captureLink(namespace: NetworkNamespace, name: string): LinkState | undefined {
  const link = namespace.link(name);
  if (!link) return undefined;
  const routes = namespace.routes({ link: link.index }).filter((route) => !madeForAddress(route));
  const channels = namespace.channels(link.name);
  return {
    link,
    addresses: namespace.addresses(link.index),
    routes,
    neighbours: namespace.neighbours(link.index).filter(({ state }) => state & NUD_PERMANENT),
    others: otherLinks(namespace, link, routes),
    ...(channels === undefined ? {} : { channels }),
  };
}

function madeForAddress(route: Route): boolean {
  return route.table === TABLE_LOCAL && route.protocol === RTPROT_KERNEL;
}

function otherLinks(
  namespace: NetworkNamespace,
  own: Link,
  routes: readonly Route[],
): ReadonlyMap<number, LinkIdentity> {
  const others = new Map<number, LinkIdentity>();
  for (const { oif } of routes.flatMap((route) => route.next_hops)) {
    if (oif === undefined || oif === own.index || others.has(oif)) continue;
    const link = namespace.link(oif);
    if (link) others.set(oif, identityOf(link));
  }
  return others;
}

/**
 * The steps that give the link its state back once it is there again, oldest first: undo takes them from the end.
 * Routes with `unsupported` attributes are left out, for a route that does something else is worse than none: tell the user.
 */
export function restoreSteps(state: LinkState): UndoStep[] {
  const { link, addresses, routes, neighbours } = state;
  const identity = identityOf(link);
  const { up, mtu, promisc, addrgen_mode } = link;
  const forward: UndoStep[] = [
    {
      kind: 'set_link',
      link: identity,
      up,
      mtu,
      promisc,
      ...(addrgen_mode === undefined ? {} : { addrgen_mode }),
    },
    ...addresses
      .filter(({ family, flags }) => family === 4 || !(flags & IFA_F_TEMPORARY))
      .map(({ link: _, ...address }): UndoStep => ({ kind: 'add_address', link: identity, address })),
    ...inOrderOfNeed(routes.filter((route) => route.unsupported === undefined))
      .map((route) => portableRoute(route, identity, state))
      .filter((route) => route.next_hops.length > 0)
      .map((route): UndoStep => ({ kind: 'add_route', route })),
    ...neighbours.flatMap(({ family, address, mac }): UndoStep[] =>
      mac === undefined ? [] : [{ kind: 'set_neighbour', link: identity, family, address, mac }],
    ),
  ];
  return forward.reverse();
}

/** A gateway must be reachable when its route is added: direct routes first, then the narrow before the wide. */
function inOrderOfNeed(routes: readonly Route[]): Route[] {
  const needs = (route: Route) => (route.next_hops.some((hop) => hop.gateway !== undefined) ? 1 : 0);
  const length = (route: Route) => Number(route.prefix.split('/')[1]);
  return [...routes].sort((a, b) => needs(a) - needs(b) || length(b) - length(a));
}

function portableRoute(
  route: Route,
  identity: LinkIdentity,
  { link, others }: LinkState,
): Extract<UndoStep, { kind: 'add_route' }>['route'] {
  const { flags: _, nexthop_id: __, ...rest } = route;
  // A next hop of a multipath route whose link is down is shown as dead, and could not be added again.
  const alive = route.next_hops.filter((hop) => !((hop.flags ?? 0) & RTNH_F_DEAD));
  const next_hops = alive.map(({ oif, flags: ___, ...hop }): UndoNextHop => {
    const through = oif === link.index ? identity : oif === undefined ? undefined : others.get(oif);
    return through ? { ...hop, link: through } : hop;
  });
  return { ...rest, next_hops };
}
