/**
 * The taps that take the place of the uplinks in the host: makes them what the uplinks were, keeps them so, and reads what the host has
 * made of them.
 */
import {
  type ClusterPrefixes,
  hostOwn,
  hostTapChanges,
  hostTapRoutes,
  isClusterRoute,
  isDefaultBy,
  nexthopsOnTaps,
  own_route_protocol,
  type Speakers,
  type Taps,
  tapLikeLink,
  withinOtherNetworks,
} from '../desired/host-tap.js';
import type { Uplink } from '../desired/node-inputs.js';
import { hostState, type LinkState, linkStateOf } from '../host/undo/capture.js';
import { identityOf } from '../host/undo/undo-step.js';
import { isLinkLocal } from '../ip/prefix.js';
import type {
  HostNetwork,
  Link,
  NetlinkError,
  NetworkChange,
  NetworkNamespace,
  NewNeighbour,
  NewRoute,
} from '../linux/network.js';
import { connectedPrefixes, isSameNexthop, placing, RouteIndex, surplusConnected } from '../linux/routes.js';
import { within } from '../linux/within.js';
import { type IsDeaf, withAdvertised, withoutTakenBack } from './advertised.js';
import { hostAddresses, isHolder } from './capture-uplink.js';
import type { CapturedUplink } from './captured.js';
import { lostLeases, replaced, unreached, withLeased } from './leases.js';
import { earlySysctls, isSecret, lateSysctls } from './link-sysctls.js';
import { isNothing, type Lost, nothing_lost } from './lost.js';
import { UplinkError } from './uplink-error.js';
import { lostWays } from './ways.js';

/** A change of the tap that Linux refused. */
export interface Refusal {
  readonly change: NetworkChange;
  readonly error: NetlinkError;
}

const nud_permanent = 0x80;
const IFA_F_TENTATIVE = 0x40;

export class HostTaps {
  constructor(
    private readonly host: HostNetwork,
    /** False while the host is being given back. */
    private readonly isQuiet: () => boolean,
    /** VPP serves services. */
    private readonly serves: boolean,
  ) {}

  /**
   * Makes each tap what its uplink was; answers what Linux refused. Can be repeated, and has to be where there are nexthop
   * objects: Linux has them on no tap without a carrier.
   */
  dress(
    uplinks: readonly Uplink[],
    captured: readonly CapturedUplink[],
    cluster: ClusterPrefixes,
    speakers: Speakers = new Map(),
  ): Refusal[] {
    return this.inHost((namespace) => {
      const heard = heardByKernel(namespace, speakers);
      const links = uplinks.map((uplink) => tapOf(namespace, uplink.name));
      const taps = tapsOf(uplinks, links);
      const refused: Refusal[] = [];
      const make = (changes: readonly NetworkChange[]): void => {
        refused.push(...refusals(namespace, changes));
      };
      make(uplinks.flatMap(({ addresses }, at) => tapLikeLink(captured[at]!.link, links[at]!, addresses)));
      for (const [at, { addresses, name }] of uplinks.entries()) {
        if (addresses.some(({ family }) => family === 6)) {
          namespace.writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, '0');
        }
        setSysctls(namespace, earlySysctls(captured[at]!.sysctls));
      }
      // A tap that comes up gets a link-local address, which has to be known when it is dressed.
      make(links.map(({ index }) => ({ do: 'set_link', link: index, up: true })));
      // That of the kernel is of use only after a second or two: the same one is given to the tap as it is wanted.
      make(
        links
          .flatMap(({ index }) => namespace.addresses(index))
          .filter(({ prefix, flags }) => isLinkLocal(prefix) && (flags & IFA_F_TENTATIVE) !== 0)
          .map((address) => ({ do: 'delete_address', address })),
      );
      make(
        uplinks.flatMap((uplink, at) => {
          const link_locals = namespace
            .addresses(links[at]!.index)
            .filter(({ family, prefix }) => family === 6 && isLinkLocal(prefix))
            .map(({ prefix }) => prefix);
          return hostTapChanges(uplink, taps, link_locals);
        }),
      );
      for (const { sysctls } of captured) setSysctls(namespace, lateSysctls(sysctls));
      const has_carrier = links.every(({ index }) => namespace.link(index)?.carrier);
      const known = namespace.nexthops();
      make(
        nexthopsOnTaps(has_carrier ? captured.flatMap(({ nexthops }) => nexthops) : [], taps)
          .filter((nexthop) => !known.some((present) => isSameNexthop(present, nexthop)))
          .map((nexthop) => ({ do: 'set_nexthop', nexthop })),
      );
      // Routes of all behind the addresses of all: one over several uplinks needs those.
      const routes = uplinks.flatMap((uplink, at) =>
        hostTapRoutes(uplink, taps, captured[at]!.foreign_routes, beside(namespace, uplinks, cluster), heard),
      );
      make(
        links
          .flatMap(({ index: link }, at) =>
            surplusConnected(
              namespace.routes({ link }),
              routes,
              uplinks[at]!.addresses,
              namespace.addresses(link),
            ),
          )
          .map((route) => ({ do: 'delete_route', route })),
      );
      const there = new RouteIndex(namespace.routes());
      const possible = routes.filter(({ nexthop_id }) => has_carrier || nexthop_id === undefined);
      make(possible.flatMap((route) => placing(route, there.at(route))));
      return refused;
    });
  }

  /**
   * After the host has changed its tap, or only rebuilt it: what is ours beside what is the host's, and nothing that is ours no more. What
   * is there already is left alone.
   */
  redress(uplinks: readonly Uplink[], cluster: ClusterPrefixes, speakers: Speakers = new Map()): Refusal[] {
    return this.inHost((namespace) => {
      const heard = heardByKernel(namespace, speakers);
      const links = uplinks.map((uplink) => tapOf(namespace, uplink.name));
      const known_cluster = beside(namespace, uplinks, cluster);
      // What is down takes no route, and is looked at again when it is up.
      if (links.some(({ up }) => !up)) return [];
      const taps = tapsOf(uplinks, links);
      const known = new Set(links.flatMap(({ index }) => namespace.neighbours(index).map(neighbourKey)));
      const lacking = uplinks
        .flatMap((uplink) => hostTapChanges(uplink, taps, []))
        .filter((change) => change.do === 'set_neighbour' && !known.has(neighbourKey(change.neighbour)));
      const routes = uplinks
        .flatMap((uplink) => hostTapRoutes(uplink, taps, [], known_cluster, heard))
        .filter(({ protocol }) => protocol === own_route_protocol);
      const there = namespace.routes();
      const wanted = new Set(routes.map(routeKey));
      const isTap = new Set(links.map(({ index }) => index));
      const indices = new Map(links.map(({ name, index }) => [name, index]));
      const stale = there
        .filter(({ protocol }) => protocol === own_route_protocol)
        .filter(
          (route) => route.next_hops.some(({ oif = 0 }) => isTap.has(oif)) && !wanted.has(routeKey(route)),
        )
        // That a pool or a ServiceCIDR is gone is known once both are.
        .filter(
          (route) => (cluster.pods !== undefined && cluster.services !== undefined) || !isClusterRoute(route),
        );
      const index = new RouteIndex(there.filter((route) => !stale.includes(route)));
      const removed = stale.map((route): NetworkChange => ({ do: 'delete_route', route }));
      const placed = routes.flatMap((route) => placing(route, index.at(route)));
      // What the tap was dressed with in their place would keep the kernel from making its own.
      const copies = [...heard].flatMap(([name, router]) =>
        there
          .filter((route) => route.expires_s === undefined && isDefaultBy(route, router))
          .filter((route) => route.next_hops.some(({ oif }) => oif === indices.get(name)))
          .map((route): NetworkChange => ({ do: 'delete_route', route })),
      );
      return refusals(namespace, [...removed, ...lacking, ...placed, ...copies]);
    });
  }

  /** Puts back on each tap what its uplink had, and with it what of ours it needs. Everything else is left alone. */
  putBack(uplinks: readonly Uplink[], lost: readonly Lost[], cluster: ClusterPrefixes): Refusal[] {
    return this.inHost((namespace) => {
      const links = uplinks.map((uplink) => tapOf(namespace, uplink.name));
      const taps = tapsOf(uplinks, links);
      const refused: Refusal[] = [];
      for (const [at, uplink] of uplinks.entries()) {
        const { addresses, routes, foreign_routes } = lost[at]!;
        if (isNothing(lost[at]!)) continue;
        const gone = new Set(addresses.map(({ prefix }) => prefix));
        const changes = hostTapChanges({ ...uplink, routes, neighbours: [] }, taps, []).filter(
          (change) =>
            change.do === 'set_neighbour' ||
            (change.do === 'replace_address' && gone.has(change.address.prefix)),
        );
        refused.push(...refusals(namespace, changes));
        const there = new RouteIndex(namespace.routes());
        const bare = { ...uplink, addresses, routes, is_main: false };
        const wanted = hostTapRoutes(bare, taps, foreign_routes, cluster);
        refused.push(
          ...refusals(
            namespace,
            wanted.flatMap((route) => placing(route, there.at(route))),
          ),
        );
      }
      return refused;
    });
  }

  /** By uplink: see leases.ts. Nothing of a tap that is down, with which the kernel drops what the host has not; nor while the host is being given back. */
  lostLeases(captured: readonly CapturedUplink[]): Lost[] {
    return this.inHost((namespace) =>
      captured.map((uplink) => {
        const tap = namespace.link(uplink.link.name);
        if (tap?.kind !== 'tun' || !tap.up || !this.isQuiet()) return nothing_lost;
        const link = tap.index;
        const now = { addresses: namespace.addresses(link), routes: namespace.routes({ link }) };
        return lostLeases(uplink, now);
      }),
    );
  }

  /**
   * Leases that were put back go from the taps where the client has another one by now, with a way out, and what leads by a gateway that is reached no
   * more. True: there is nothing left that nobody has answered for. `before`: what the uplinks had when they were put back.
   */
  takeBack(before: readonly CapturedUplink[], lost: readonly Lost[]): boolean {
    return this.inHost((namespace) => {
      const left = before.map((uplink, at) => {
        const tap = namespace.link(uplink.link.name);
        if (tap?.kind !== 'tun' || isNothing(lost[at]!)) return false;
        const link = tap.index;
        const onTap = () => ({ addresses: namespace.addresses(link), routes: namespace.routes({ link }) });
        const { stale, is_open } = replaced(uplink, lost[at]!, onTap());
        if (stale.length === 0) return is_open;
        promoting(namespace, tap, () =>
          namespace.batch(stale.map((address) => ({ do: 'delete_address', address }))),
        );
        namespace.batch(unreached(lost[at]!, onTap()).map((route) => ({ do: 'delete_route', route })));
        return is_open;
      });
      return !left.includes(true);
    });
  }

  /** Prefixes of the cluster that lie in a network of another link of the host, and stay there. */
  withinOthers(uplinks: readonly Uplink[], cluster: ClusterPrefixes): string[] {
    return this.inHost((namespace) => withinOtherNetworks(beside(namespace, uplinks, cluster)));
  }

  /** Has nobody set a tap down? */
  areUp(uplinks: readonly Uplink[]): boolean {
    return this.inHost((namespace) => uplinks.every(({ name }) => namespace.link(name)?.up === true));
  }

  /**
   * The uplinks as the host wants them by now: with what it has on their taps, and with what routers had told, which may be gone from there
   * (advertised.ts). Nothing where `onTaps` tells nothing.
   */
  current(captured: readonly CapturedUplink[], isDeaf: IsDeaf = () => true): CapturedUplink[] | undefined {
    const now = this.onTaps(captured);
    return now && withAdvertised(captured, now, isDeaf);
  }

  /**
   * As `current`, for whoever does not come back a moment later: nothing in the middle of a change, which is when the host lacks a way out
   * that it had. What was remembered last is nearer to what it wants.
   */
  atOnce(captured: readonly CapturedUplink[], isDeaf: IsDeaf = () => true): CapturedUplink[] | undefined {
    const now = this.current(captured, isDeaf);
    return now !== undefined && lostWays(withoutTakenBack(captured, isDeaf), now).length === 0
      ? now
      : undefined;
  }

  /**
   * The uplinks with what the host itself has on their taps by now. Nothing where a tap is bare, or down, with which the kernel drops what
   * the host has not; nor while the host is being given back.
   */
  onTaps(captured: readonly CapturedUplink[]): CapturedUplink[] | undefined {
    const is_up = this.inHost((namespace) =>
      captured.every(({ link }) => namespace.link(link.name)?.up === true),
    );
    return is_up && this.isQuiet() ? this.read(captured) : undefined;
  }

  /** Has a tap nothing of its uplink? So it is until it has been dressed. */
  isBare(captured: readonly CapturedUplink[]): boolean {
    return this.read(captured) === undefined;
  }

  private read(captured: readonly CapturedUplink[]): CapturedUplink[] | undefined {
    return this.inHost((namespace) => {
      const found = captured.map((uplink) => namespace.link(uplink.link.name));
      const taps = new Map(captured.map((uplink, at) => [uplink.link.index, found[at]?.index ?? 0]));
      if (found.some((tap) => tap?.kind !== 'tun')) return undefined;
      const host_addresses = hostAddresses(namespace, captured, this.serves);
      const host = hostState(namespace);
      const now = captured.map((uplink, at) => {
        const state = linkStateOf(found[at]!, host);
        const { spec, link } = uplink;
        const own = hostOwn({ ...uplink, link: link.index, index: spec.index }, taps, state);
        if (own === undefined) return undefined;
        const others = withPeers(uplink, captured, state);
        return withLeased<CapturedUplink>({
          ...uplink,
          ...own,
          others,
          host_addresses: spec.is_main ? host_addresses : [],
        });
      });
      return now.every((uplink) => uplink !== undefined) ? now : undefined;
    });
  }

  /** The MTU that Linux lost to a DHCP client or a network manager comes back. True if one had to be mended. */
  mendMtu(uplink: Uplink): boolean {
    return this.inHost((namespace) => {
      const tap = namespace.link(uplink.name);
      if (tap === undefined || tap.kind !== 'tun' || tap.mtu === uplink.mtu) return false;
      namespace.apply({ do: 'set_link', link: tap.index, mtu: uplink.mtu });
      return true;
    });
  }

  private inHost<T>(run: (namespace: NetworkNamespace) => T): T {
    return within(this.host.open(), run);
  }
}

/** With an address Linux deletes those that came to its subnet later, unless it is to make one of them the first. */
function promoting(namespace: NetworkNamespace, { name }: Link, change: () => void): void {
  const path = `net/ipv4/conf/${name}/promote_secondaries`;
  const before = namespace.readSysctl(path)?.trim() ?? '0';
  if (before !== '1') namespace.writeSysctl(path, '1');
  change();
  if (before !== '1') namespace.writeSysctl(path, before);
}

function refusals(namespace: NetworkNamespace, changes: readonly NetworkChange[]): Refusal[] {
  return namespace.batch(changes).flatMap((error, i) => {
    const change = changes[i]!;
    return error === undefined || isThere(change, error) ? [] : [{ change, error }];
  });
}

/** With the networks of the host's links but the main uplink, which has its own. */
function beside(
  namespace: NetworkNamespace,
  uplinks: readonly Uplink[],
  cluster: ClusterPrefixes,
): ClusterPrefixes {
  const taps = new Set(uplinks.flatMap(({ name }) => namespace.link(name)?.index ?? []));
  const others = new Set(
    namespace.links().flatMap((link) => (isHolder(link) || taps.has(link.index) ? [] : [link.index])),
  );
  const addresses = [
    ...namespace.addresses().filter(({ link }) => others.has(link)),
    ...uplinks.filter(({ is_main }) => !is_main).flatMap((uplink) => uplink.addresses),
  ];
  return { ...cluster, other_networks: [...new Set(addresses.flatMap(connectedPrefixes))] };
}

/** The kernel puts the very same route nowhere a second time, and a name is had but once. */
function isThere({ do: what }: NetworkChange, { code }: NetlinkError): boolean {
  return code === 'EEXIST' && (what === 'append_route' || what === 'prepend_route' || what === 'add_altname');
}

function neighbourKey({ link, address, mac, state = 0 }: NewNeighbour): string {
  return `${link} ${address} ${mac} ${(state & nud_permanent) !== 0}`;
}

function tapsOf(uplinks: readonly Uplink[], links: readonly Link[]): Taps {
  return new Map(uplinks.map((uplink, at) => [uplink.link, links[at]!.index]));
}

function setSysctls(namespace: NetworkNamespace, sysctls: CapturedUplink['sysctls']): void {
  for (const sysctl of sysctls) {
    const { path, value } = sysctl;
    const present = isSecret(sysctl) ? undefined : namespace.readSysctl(path);
    if (present !== undefined && present.trim() !== value) namespace.writeSysctl(path, value);
  }
}

function routeKey({ family, prefix, metric, metrics, next_hops = [] }: NewRoute): string {
  return [
    family,
    prefix,
    metric || (family === 6 ? 1024 : 0),
    metrics?.mtu,
    ...next_hops.map(({ oif, gateway }) => `${oif} ${gateway}`),
  ].join(' ');
}

/** Links that a route of the tap names: other uplinks as they were, and those that are there. */
function withPeers(
  uplink: CapturedUplink,
  captured: readonly CapturedUplink[],
  tap: LinkState,
): CapturedUplink['others'] {
  const peers = captured
    .filter((each) => each !== uplink)
    .map(({ link }) => [link.index, identityOf(link)] as const);
  return [...new Map([...uplink.others, ...tap.others, ...peers])];
}

function tapOf(namespace: NetworkNamespace, name: string): Link {
  const tap = namespace.link(name);
  if (tap === undefined || tap.kind !== 'tun') {
    throw new UplinkError(`uplink ${name}: VPP made no tap of that name in the host`);
  }
  return tap;
}

/** A network manager that hears advertisements itself keeps the kernel from it. */
function heardByKernel(namespace: NetworkNamespace, speakers: Speakers): Speakers {
  return new Map(
    [...speakers].filter(([name]) => {
      const sysctl = (key: string) => namespace.readSysctl(`net/ipv6/conf/${name}/${key}`);
      const accept_ra = sysctl('accept_ra');
      return (
        sysctl('accept_ra_defrtr') !== '0' &&
        (accept_ra === '2' || (accept_ra === '1' && sysctl('forwarding') === '0'))
      );
    }),
  );
}
