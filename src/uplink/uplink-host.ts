/**
 * The Linux side of the uplinks: reads them, gives them to VPP, dresses the tap that takes their place, and undoes it all.
 * Every change has its undo in the journal, on the disk, before it is made.
 */
import { readlinkSync } from 'node:fs';
import type { UplinkSpec } from '../config.js';
import {
  type ClusterPrefixes,
  hostOwn,
  hostTapChanges,
  hostTapRoutes,
  isClusterRoute,
  nexthopsOnTaps,
  own_route_protocol,
  type Taps,
  tapLikeLink,
} from '../desired/host-tap.js';
import type { Uplink } from '../desired/uplink.js';
import { captureLink, type LinkState, restoreSteps } from '../host/undo/capture.js';
import { type UndoReport, type UndoTools, undo } from '../host/undo/undo.js';
import type { UndoJournal } from '../host/undo/undo-journal.js';
import { identityOf, type UndoStep } from '../host/undo/undo-step.js';
import { isLinkLocal } from '../ip/prefix.js';
import type {
  Address,
  HostNetwork,
  Link,
  NetlinkError,
  NetworkChange,
  NetworkNamespace,
  NewNeighbour,
  NewRoute,
} from '../linux/network.js';
import { isSameNexthop, placing, RouteIndex, surplusConnected } from '../linux/routes.js';
import type { CapturedStore, CapturedUplink, Phase } from './captured.js';
import type { DeviceChange, UplinkDriver } from './driver.js';
import { driverFor } from './drivers.js';
import { withoutLeftovers } from './leftovers.js';
import { earlySysctls, isSecret, lateSysctls, linkSysctls, type Sysctl } from './link-sysctls.js';
import { obstaclesOf } from './obstacles.js';

/** The uplink cannot be taken over as it is. Nothing of it was changed. */
export class UplinkError extends Error {
  override readonly name = 'UplinkError';
}

/** A change of the tap that Linux refused. */
export interface Refusal {
  readonly change: NetworkChange;
  readonly error: NetlinkError;
}

/** NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT: the neighbour has answered. */
const neighbour_answered = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
const nud_permanent = 0x80;
/** The kernel makes these in every namespace by itself. */
const fallback_devices = /^(lo|(ip6?_vti|ip6?gre|gre|gretap|erspan|tunl|sit|ip6tnl)0)$/;

/** Of the namespace that VPP lives in; `default` is what a link begins with that comes there. */
const silent_sysctls: readonly (readonly [path: string, value: string])[] = [
  ...['all', 'default'].flatMap((scope) => [
    [`net/ipv6/conf/${scope}/disable_ipv6`, '1'] as const,
    // Answers nobody.
    [`net/ipv4/conf/${scope}/arp_ignore`, '8'] as const,
  ]),
  ['net/ipv4/ip_forward', '0'],
];

export class UplinkHost {
  /** Commands of the host that ran out of time, as JSON: there are few of them. */
  private readonly timed_out = new Set<string>();

  constructor(
    private readonly host: HostNetwork,
    private readonly journal: UndoJournal,
    private readonly captured: CapturedStore,
    private readonly tools: UndoTools,
    /** Path of the network namespace that VPP lives in. */
    private readonly vpp_netns: string,
  ) {}

  /** Something of the host is changed and not undone. */
  isChanged(): boolean {
    return this.journal.pending().length > 0;
  }

  /** The uplinks of the take-over that is in force, or that broke off. */
  taken(): { readonly phase: Phase; readonly uplinks: readonly CapturedUplink[] } | undefined {
    return this.captured.load();
  }

  /** Throws UplinkError. */
  capture(specs: readonly UplinkSpec[]): CapturedUplink[] {
    return this.inHost((namespace) => {
      const captured = specs.map((spec) => captureUplink(namespace, spec));
      const host_addresses = hostAddresses(namespace, captured);
      return captured.map((each) => (each.spec.is_main ? { ...each, host_addresses } : each));
    });
  }

  /**
   * After the journal, or a part of it, was lost: the uplinks as they were captured tell what is pending. Answers the names of those that
   * it knows nothing of.
   */
  recoverJournal(): string[] {
    const pending = this.journal.pending();
    const isKnown = ({ link: { name } }: CapturedUplink) =>
      pending.some((step) => step.kind === 'link_to_netns' && step.link.name === name);
    const lost = (this.captured.load()?.uplinks ?? []).filter((uplink) => !isKnown(uplink));
    if (lost.length === 0) return [];
    const steps = lost.flatMap((uplink) =>
      stepsOf(uplink, this.vpp_netns, driverFor(uplink.spec).prepare({ ...uplink, gso: false })),
    );
    this.journal.restart([...pending, ...steps]);
    return lost.map(({ link }) => link.name);
  }

  /**
   * Brings back what is left in VPP's namespace and no journal tells of: it would be lost with it, and its addresses nobody knows. `names`:
   * while VPP lives, which may have devices of its own, those of these names that the host lacks. Answers who came back.
   */
  async rescue(names?: readonly string[]): Promise<string[]> {
    const left = this.inHost((namespace) =>
      this.strays().filter(
        (name) => names === undefined || (names.includes(name) && namespace.link(name) === undefined),
      ),
    );
    for (const name of left) {
      const link = this.inVpp((namespace) => namespace.link(name));
      if (link === undefined) continue;
      const identity = identityOf(link);
      await undo(
        [
          { kind: 'set_link', link: identity, up: true, promisc: false },
          { kind: 'link_to_netns', link: identity, from: this.vpp_netns },
        ],
        this.tools,
      );
    }
    const still = this.strays();
    return left.filter((name) => !still.includes(name));
  }

  /** Gives the devices to VPP. Throws UplinkError, or what Linux answered; the caller then restores. */
  take(uplinks: readonly CapturedUplink[]): void {
    this.silence();
    this.captured.save('taking', uplinks);
    for (const uplink of uplinks) this.inHost((namespace) => this.takeOne(namespace, uplink));
  }

  /** The take-over is complete: from now on it is resumed, and not undone, by a process that finds it. */
  complete(uplinks: readonly CapturedUplink[]): void {
    this.captured.save('taken', uplinks);
  }

  /**
   * Makes each tap what its uplink was; answers what Linux refused. Can be repeated, and has to be where there are nexthop
   * objects: Linux has them on no tap without a carrier.
   */
  dress(
    uplinks: readonly Uplink[],
    captured: readonly CapturedUplink[],
    cluster: ClusterPrefixes,
  ): Refusal[] {
    return this.inHost((namespace) => {
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
        hostTapRoutes(uplink, taps, captured[at]!.foreign_routes, cluster),
      );
      make(
        links
          .flatMap(({ index }) => surplusConnected(namespace.routes({ link: index }), routes))
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
  redress(uplinks: readonly Uplink[], cluster: ClusterPrefixes): Refusal[] {
    return this.inHost((namespace) => {
      const links = uplinks.map((uplink) => tapOf(namespace, uplink.name));
      // What is down takes no route, and is looked at again when it is up.
      if (links.some(({ up }) => !up)) return [];
      const taps = tapsOf(uplinks, links);
      const known = new Set(links.flatMap(({ index }) => namespace.neighbours(index).map(neighbourKey)));
      const lacking = uplinks
        .flatMap((uplink) => hostTapChanges(uplink, taps, []))
        .filter((change) => change.do === 'set_neighbour' && !known.has(neighbourKey(change.neighbour)));
      const routes = uplinks
        .flatMap((uplink) => hostTapRoutes(uplink, taps, [], cluster))
        .filter(({ protocol }) => protocol === own_route_protocol);
      const there = namespace.routes();
      const wanted = new Set(routes.map(routeKey));
      const isTap = new Set(links.map(({ index }) => index));
      const stale = there
        .filter(({ protocol }) => protocol === own_route_protocol)
        .filter(
          (route) => route.next_hops.some(({ oif = 0 }) => isTap.has(oif)) && !wanted.has(routeKey(route)),
        )
        // That a pool is gone is known once the pools are.
        .filter((route) => cluster.pods !== undefined || !isClusterRoute(route));
      const index = new RouteIndex(there.filter((route) => !stale.includes(route)));
      const placed = routes.flatMap((route) => placing(route, index.at(route)));
      const removed = stale.map((route): NetworkChange => ({ do: 'delete_route', route }));
      return refusals(namespace, [...removed, ...lacking, ...placed]);
    });
  }

  /** Has nobody set a tap down? */
  areTapsUp(uplinks: readonly Uplink[]): boolean {
    return this.inHost((namespace) => uplinks.every(({ name }) => namespace.link(name)?.up === true));
  }

  /**
   * The uplinks with what the host itself has on their taps by now; nothing where a tap is bare, as it is until it has been
   * dressed.
   */
  current(captured: readonly CapturedUplink[]): CapturedUplink[] | undefined {
    return this.inHost((namespace) => {
      const found = captured.map((uplink) => namespace.link(uplink.link.name));
      const taps = new Map(captured.map((uplink, at) => [uplink.link.index, found[at]?.index ?? 0]));
      const host_addresses = hostAddresses(namespace, captured);
      const now = captured.map((uplink, at) => {
        const tap = found[at];
        const state = tap?.kind === 'tun' ? captureLink(namespace, tap.name) : undefined;
        if (state === undefined) return undefined;
        const { spec, link } = uplink;
        const own = hostOwn({ ...uplink, link: link.index, index: spec.index }, taps, state);
        if (own === undefined) return undefined;
        const others = withPeers(uplink, captured, state);
        return { ...uplink, ...own, others, host_addresses: spec.is_main ? host_addresses : [] };
      });
      return now.every((uplink) => uplink !== undefined) ? now : undefined;
    });
  }

  /** What the host wants has changed: a restore gives it this. Throws when it cannot be written; the old holds then. */
  remember(uplinks: readonly CapturedUplink[]): void {
    let steps = this.journal.pending();
    for (const uplink of uplinks) steps = withState(steps, uplink, this.vpp_netns);
    this.journal.replace(steps);
    this.captured.save('taken', uplinks);
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

  /**
   * Linux as it was. Can be repeated; what fails stays in the journal for the next attempt. `again`: also what ran out of time before, which
   * is no use in one and the same end.
   */
  async restore(again = true): Promise<UndoReport> {
    const pending = this.journal.pending();
    const is_due = (step: UndoStep) => again || !this.timed_out.has(JSON.stringify(step));
    const report = await undo(pending.filter(is_due), this.tools);
    const failed = new Set(report.remaining);
    const remaining = pending.filter((step) => failed.has(step) || !is_due(step));
    for (const result of report.results) {
      if (result.outcome === 'failed' && result.timed_out) this.timed_out.add(JSON.stringify(result.step));
    }
    try {
      // First the captured uplinks: without a journal they would be given back once more.
      if (remaining.length === 0) this.captured.clear();
      this.journal.replace(remaining);
    } catch {
      // On a disk that takes nothing all steps stay pending; to take them again is harmless.
    }
    return { ...report, remaining };
  }

  /** Links in VPP's namespace that would be destroyed with it. */
  strays(): string[] {
    if (!this.host.exists(this.vpp_netns)) return [];
    return this.inVpp((namespace) => namespace.links().map(({ name }) => name)).filter(
      (name) => !fallback_devices.test(name),
    );
  }

  private inHost<T>(run: (namespace: NetworkNamespace) => T): T {
    return within(this.host.open(), run);
  }

  private inVpp<T>(run: (namespace: NetworkNamespace) => T): T {
    return within(this.host.open(this.vpp_netns), run);
  }

  /**
   * The kernel of VPP's namespace sees all that the uplink receives. Left to itself it takes the host's own IPv6 addresses from the same
   * router, answers ARP, forwards what it is sent and resets the host's connections.
   */
  private silence(): void {
    this.inVpp((inside) => {
      for (const [path, value] of silent_sysctls) {
        const present = inside.readSysctl(path)?.trim();
        if (present === undefined || present === value) continue;
        try {
          inside.writeSysctl(path, value);
        } catch (error) {
          throw new UplinkError(
            `${path} cannot be set in VPP's network namespace (${(error as Error).message}), and the kernel would answer there in the host's name; make /proc/sys writable`,
          );
        }
      }
    });
  }

  private takeOne(namespace: NetworkNamespace, uplink: CapturedUplink): void {
    const { spec } = uplink;
    const { name } = uplink.link;
    const driver = driverFor(spec);
    const link = namespace.link(name);
    if (link === undefined) throw new UplinkError(`uplink ${name} vanished before it was taken over`);
    const changes = driver.prepare({ ...uplink, gso: false });
    this.journal.record(stepsOf(uplink, this.vpp_netns, changes));
    for (const change of changes) makeChange(namespace, uplink, change);
    if (driver.moves) {
      leaveGroups(namespace, uplink);
      this.move(namespace, link.index, name);
    }
  }

  private move(namespace: NetworkNamespace, link: number, name: string): void {
    namespace.apply({ do: 'move_link', link, netns: this.vpp_netns });
    this.inVpp((inside) => {
      const moved = inside.link(name);
      if (moved === undefined)
        throw new UplinkError(`uplink ${name} did not arrive in VPP's network namespace`);
      inside.apply({ do: 'set_link', link: moved.index, up: true, promisc: true });
    });
  }
}

const IFA_F_TENTATIVE = 0x40;
const IFA_F_MCAUTOJOIN = 0x400;

/** The kernel leaves a group that an address has joined with the address, and not with the link. */
function leaveGroups(namespace: NetworkNamespace, { addresses }: CapturedUplink): void {
  for (const address of addresses)
    if (address.flags & IFA_F_MCAUTOJOIN) namespace.apply({ do: 'delete_address', address });
}

/** Closes it at the end. */
export function within<T>(namespace: NetworkNamespace, run: (namespace: NetworkNamespace) => T): T {
  try {
    return run(namespace);
  } finally {
    namespace.close();
  }
}

function refusals(namespace: NetworkNamespace, changes: readonly NetworkChange[]): Refusal[] {
  return namespace.batch(changes).flatMap((error, i) => {
    const change = changes[i]!;
    return error === undefined || isThere(change, error) ? [] : [{ change, error }];
  });
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

/** What undoes the take-over of one uplink, oldest first: undone from the end, its tap goes before it comes back. */
function stepsOf(
  uplink: CapturedUplink,
  vpp_netns: string,
  changes: readonly DeviceChange[] = [],
): UndoStep[] {
  const { link, sysctls } = uplink;
  const identity = identityOf(link);
  const sysctl = ({ path, value }: Sysctl) =>
    ({ kind: 'link_sysctl', link: identity, path: path.replace(`/${link.name}/`, '/*/'), value }) as const;
  return [
    ...lateSysctls(sysctls).map((each) => ({ ...sysctl(each), late: true }) as const),
    ...restoreSteps(stateOf(uplink)),
    ...earlySysctls(sysctls).map(sysctl),
    ...changes.flatMap((change) => undoOf(change, uplink)),
    { kind: 'link_to_netns', link: identity, from: vpp_netns },
    // The host tap, which has the name of the uplink.
    {
      kind: 'delete_link',
      name: link.name,
      link_kind: 'tun',
      ...(link.kind === 'tun' && { while: { link: identity, in: vpp_netns } }),
    },
  ];
}

/** The steps with the addresses, routes and neighbours of this uplink replaced by those that it has now; all of them, if none is there. */
function withState(steps: readonly UndoStep[], uplink: CapturedUplink, vpp_netns: string): UndoStep[] {
  const { name } = uplink.link;
  const isIts = (step: UndoStep): boolean => {
    switch (step.kind) {
      case 'add_address':
      case 'set_neighbour':
      case 'connected_routes':
        return step.link.name === name;
      case 'set_nexthop':
        return step.of === name;
      case 'add_route':
        return (step.of ?? name) === name;
      default:
        return false;
    }
  };
  const at = steps.findIndex(isIts);
  if (at === -1) return [...steps, ...stepsOf(uplink, vpp_netns)];
  const rest = steps.slice(at).filter((step) => !isIts(step));
  return [...steps.slice(0, at), ...restoreSteps(stateOf(uplink)).filter(isIts), ...rest];
}

function stateOf({ others, ...state }: CapturedUplink): LinkState {
  return { ...state, others: new Map(others) };
}

function captureUplink(namespace: NetworkNamespace, spec: UplinkSpec): CapturedUplink {
  const state = captureLink(namespace, spec.interface_name);
  const links = namespace.links();
  if (state === undefined) {
    const known = links.map((link) => link.name);
    throw new UplinkError(
      `uplink ${spec.interface_name}: Linux has no such interface (it has ${known.join(', ')}); correct interfaceName`,
    );
  }
  const { own, leftovers } = withoutLeftovers(state);
  const { link, others, ...rest } = own;
  const [obstacle] = obstaclesOf(own, links, spec);
  if (obstacle !== undefined) {
    const { what, why, step } = obstacle;
    throw new UplinkError(`uplink ${link.name} ${what}: ${why}; ${step}`);
  }
  const answering = new Set(
    namespace
      .neighbours(link.index)
      .filter(({ mac, state }) => mac !== undefined && (state & neighbour_answered) !== 0)
      .map(({ address }) => address),
  );
  return {
    spec,
    link,
    ...rest,
    others: [...others],
    sysctls: linkSysctls(namespace, link),
    leftovers,
    answering_gateways: gatewaysOf(own).filter((gateway) => answering.has(gateway)),
    host_addresses: [],
  };
}

const arphrd_loopback = 772;

/** Of the loopback and of dummy devices, as load balancers and local name servers have them; not what an uplink has as well. */
function hostAddresses(namespace: NetworkNamespace, captured: readonly CapturedUplink[]): string[] {
  const holders = new Set(
    namespace
      .links()
      .filter(({ type, kind }) => type === arphrd_loopback || kind === 'dummy')
      .map(({ index }) => index),
  );
  const own = new Set(captured.flatMap(({ addresses }) => addresses.map(addressText)));
  const all = namespace.addresses().filter(({ link, scope }) => holders.has(link) && scope === 0);
  return [...new Set(all.map(addressText))].filter((address) => !own.has(address)).sort();
}

function addressText({ prefix }: Address): string {
  return prefix.split('/')[0] ?? prefix;
}

/** Gateways of the routes through this link. */
export function gatewaysOf({ link, routes }: Pick<CapturedUplink, 'link' | 'routes'>): string[] {
  const hops = routes.flatMap((route) => route.next_hops).filter((hop) => hop.oif === link.index);
  return [...new Set(hops.flatMap((hop) => hop.gateway ?? []))];
}

function makeChange(namespace: NetworkNamespace, { link }: CapturedUplink, change: DeviceChange): void {
  switch (change.do) {
    case 'promisc':
      return namespace.apply({ do: 'set_link', link: link.index, promisc: true });
    case 'mtu':
      return namespace.apply({ do: 'set_link', link: link.index, mtu: change.mtu });
    case 'channels':
      return namespace.setChannels(link.name, { combined: change.combined });
    case 'xdp':
      return;
  }
}

/** Beside what `restoreSteps` restores anyway. */
function undoOf(change: DeviceChange, { link, channels }: CapturedUplink): UndoStep[] {
  if (change.do === 'xdp') return [{ kind: 'set_link', link: identityOf(link), xdp: false }];
  if (change.do !== 'channels' || channels === undefined) return [];
  const { rx, tx, combined } = channels;
  return [{ kind: 'ethtool_channels', link: identityOf(link), channels: { rx, tx, combined } }];
}

/** The uplink as `desired` wants it. */
export function uplinkOf(captured: CapturedUplink, gso: boolean, tag: string): Uplink {
  const { spec, link } = captured;
  const driver: UplinkDriver = driverFor(spec);
  const facts = { ...captured, gso };
  return {
    name: link.name,
    index: spec.index,
    is_main: spec.is_main,
    mac: link.mac ?? '00:00:00:00:00:00',
    mtu: driver.mtu(facts),
    addresses: captured.addresses,
    routes: captured.routes,
    link: link.index,
    host_addresses: captured.host_addresses,
    neighbours: captured.neighbours,
    physical_network: spec.physical_network,
    rx_mode: spec.rx_mode ?? driver.default_rx_mode,
    device: driver.device(facts, tag),
  };
}

/**
 * How VPP reaches the host's network namespace, which is that of this process: by init, where it has the same one, since
 * that path means the same in the next life of this process.
 */
export function hostNamespacePath(): string {
  const inode = (pid: string): string | undefined => {
    try {
      return readlinkSync(`/proc/${pid}/ns/net`);
    } catch {
      return undefined;
    }
  };
  return inode('1') === inode('self') ? 'pid:1' : `/proc/${process.pid}/ns/net`;
}
