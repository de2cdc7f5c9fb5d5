/**
 * Tunnels to other nodes: each is wanted once, for as long as a route goes by it, and with it the route to the node at its other end, which all that
 * carries to that node has together. Kept in place. Pure.
 */
import type { IpipTunnel } from '../objects/tunnels.js';
import { Carriers6 } from './carriers6.js';
import { type Entry, goesBefore, type Hop, isByTunnel, no_uses, tunnelTo, Use } from './remote-entry.js';
import {
  nodeRoute,
  type Outlook,
  steered_paths,
  type Tunnel,
  type TunnelKind,
  tunnelObjects,
} from './remote-route.js';
import type { RemoteTable } from './remote-table.js';
import { SharedLists } from './shared-lists.js';
import type { Sink } from './sink.js';

export class RemoteTunnels {
  readonly #table: RemoteTable;
  readonly #carriers6 = new Carriers6();
  readonly #use_lists = new SharedLists<Use>();
  /** Tunnels of these are to be looked at. */
  readonly #touched = new Set<Hop>();
  /** Addresses of nodes to which packets go by SRv6. */
  readonly #steered = new Set<string>();
  #count = 0;

  constructor(table: RemoteTable) {
    this.#table = table;
  }

  /** Tunnels of this number, or port, are made no more: what goes by others is to be planned. */
  touchUnnamed(outlook: Outlook): void {
    for (const hop of this.#table.hops()) {
      if ([...hop.tunnels.values()].some(({ tunnel }) => !outlook.names(tunnel)))
        for (const entry of hop.entries) this.#table.touched.add(entry);
    }
  }

  /** All that there are have another source or MTU, or may have. */
  touchAll(): void {
    for (const hop of this.#table.hops()) if (hop.tunnels.size > 0) this.#touched.add(hop);
  }

  /** VPP has refused to make this tunnel, or to set it up, or has it after all. True: something follows from it. `dst` absent: all nodes are behind it. */
  setRefused({ tag, dst }: { readonly tag: string; readonly dst?: string }, refused: boolean): boolean {
    const hops = dst === undefined ? this.#table.hops() : [this.#table.hop(dst)];
    let follows = false;
    for (const hop of hops) {
      const use = hop?.tunnels.get(tag);
      if (use === undefined || use.refused === refused) continue;
      use.refused = refused;
      for (const entry of use.hop.entries) if (entry.uses.includes(use)) this.#table.touched.add(entry);
      follows = true;
    }
    return follows;
  }

  /** What is sent to this node itself goes by SRv6, or does no more. */
  setSteered(address: string, is_steered: boolean, sink: Sink): void {
    if (is_steered) this.#steered.add(address);
    else this.#steered.delete(address);
    const hop = this.#table.hop(address);
    if (hop === undefined) return;
    this.routeNode(hop, sink);
    this.#table.forgetHop(hop);
  }

  /** Those by which it goes from now on. A tunnel is wanted before what goes by it, and is wanted no more behind it: see `leave`. */
  usesOf(entry: Entry, outlook: Outlook, sink: Sink): readonly Use[] {
    const uses: Use[] = [];
    for (const { hop, way } of entry.legs) {
      if (!isByTunnel(way) || tunnelTo(hop) !== undefined) continue;
      const use = this.#use(hop, way, outlook, sink);
      this.#carriers6.count(entry, use.tunnel, 1);
      uses.push(use);
    }
    if (uses.length > 1) return this.#use_lists.of(uses);
    return uses[0]?.alone ?? no_uses;
  }

  #use(hop: Hop, kind: TunnelKind, outlook: Outlook, sink: Sink): Use {
    let used: Use | undefined;
    for (const each of hop.tunnels.values())
      if (each.kind === kind && outlook.names(each.tunnel)) used = each;
    if (used === undefined) {
      const tunnel = outlook.tunnel(kind, hop.address)!;
      used = new Use(hop, kind, tunnel);
      hop.tunnels.set(tunnel.tag, used);
      this.#count += 1;
      if (kind !== 'wireguard')
        for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    }
    used.routes += 1;
    return used;
  }

  /** A route goes by it no more. */
  leave(entry: Entry, used: Use, sink: Sink): void {
    const { hop, tunnel } = used;
    this.#carriers6.count(entry, tunnel, -1);
    used.routes -= 1;
    if (used.routes > 0) return;
    hop.tunnels.delete(tunnel.tag);
    this.#count -= 1;
    this.routeNode(hop, sink);
    if (used.kind !== 'wireguard') sink.unwant(tunnel);
    this.#table.forgetHop(hop);
  }

  /** Behind the routes: what was touched is wanted as it is by now, those of so many nodes at most. True: nothing is left. */
  plan(max: number, outlook: Outlook, sink: Sink): boolean {
    let left = max;
    for (const hop of this.#touched) {
      if (left <= 0) return false;
      left -= 1;
      this.#touched.delete(hop);
      this.#renew(hop, outlook, sink);
    }
    return true;
  }

  #renew(hop: Hop, outlook: Outlook, sink: Sink): void {
    for (const used of hop.tunnels.values()) {
      const tunnel = outlook.tunnel(used.kind, hop.address);
      // Routes were planned before: one that cannot be any more, or has another tag, has lost them, and is not here.
      if (tunnel === undefined) continue;
      used.tunnel = tunnel;
      if (used.kind === 'wireguard') continue;
      for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    }
  }

  /** By SRv6, where what is sent to its pods goes so, and none of it by IPsec; else of several tunnels to one node, of those that VPP makes, the first by its tag. */
  routeNode(hop: Hop, sink: Sink): void {
    let first: Use | undefined;
    let is_encrypted = false;
    for (const used of hop.tunnels.values()) {
      if (first === undefined || goesBefore(used, first)) first = used;
      if (isOfIke(used.tunnel)) is_encrypted = true;
    }
    const before = hop.route;
    const paths = this.#steered.has(hop.address) && !is_encrypted ? steered_paths : first?.paths;
    if (before?.paths === paths) return;
    hop.route = paths && nodeRoute(hop.address, paths);
    if (hop.route !== undefined) sink.want(hop.route);
    else sink.unwant(before!);
  }

  /** Those that IKE brings up. */
  *ofIke(): Iterable<IpipTunnel> {
    for (const { tunnels } of this.#table.hops())
      for (const { tunnel } of tunnels.values()) if (isOfIke(tunnel)) yield tunnel;
  }

  get count(): number {
    return this.#count;
  }

  /** Tunnels that carry IPv6 and are too narrow for it, by object. */
  faults(outlook: Outlook | undefined): readonly (readonly [object: string, text: string])[] {
    return outlook === undefined ? [] : this.#carriers6.faults(outlook);
  }
}

const isOfIke = (tunnel: Tunnel): tunnel is IpipTunnel =>
  tunnel.kind === 'ipip_tunnel' && tunnel.ike === true;
