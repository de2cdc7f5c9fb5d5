/**
 * What VPP holds for the way to other nodes: a route for each prefix, and the tunnels that routes go by, each once however many they are.
 * Kept in place: a change has what it touches planned anew, a pool the routes within it, a next hop those to it, and nothing else. Pure:
 * what is wanted is told to a `Sink`, as a Model is told.
 *
 *   setRoute, setDropped, setPool, setOutlook ──▶ entries to be planned ──plan(n, sink)──▶ want, unwant
 */
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixIndex } from '../ip/prefix-index.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import type { VppObject } from '../objects/object.js';
import type { Route } from '../objects/routing.js';
import { Pools } from './pools.js';
import {
  dropRoute,
  nodeRoute,
  type Outlook,
  type RouteFault,
  remoteRoute,
  routeFaultText,
  type Tunnel,
  tunnelObjects,
} from './remote-route.js';

/** Prefixes and next hops that are none, of which is told. */
const senseless_max = 1000;

export interface Sink {
  /** It is wanted, in this version. */
  want(object: VppObject): void;
  /** It is wanted no more; it was, in this version. */
  unwant(object: VppObject): void;
}

/** A prefix that somebody has told of. */
class Entry {
  next_hop: Hop | undefined;
  /** Where no route holds, its packets are dropped. */
  dropped = false;
  /** What is wanted for it by now, and the tunnel that it goes by. */
  route: Route | undefined;
  tunnel: Tunnel | undefined;
  fault: RouteFault | undefined;

  constructor(
    readonly prefix: string,
    readonly bits: Bits,
  ) {}
}

/** A node, or a router, by the address that leads to it. */
class Hop {
  readonly entries = new Set<Entry>();
  /** By tag: how many routes go by it. */
  readonly tunnels = new Map<string, { tunnel: Tunnel; routes: number }>();
  /** Of the node itself. */
  route: Route | undefined;

  constructor(
    readonly address: string,
    readonly bits: Bits,
  ) {}
}

export class Connectivity {
  readonly #pools = new Pools();
  readonly #entries = new Map<string, Entry>();
  readonly #within = new PrefixIndex<Entry>();
  readonly #hops = new Map<string, Hop>();
  /** To be planned. */
  readonly #touched = new Set<Entry>();
  /** Tunnels of these are to be looked at. */
  readonly #touched_hops = new Set<Hop>();
  readonly #faulty = new Set<Entry>();
  /** Prefixes and next hops that are none, by the text they came as. */
  readonly #senseless = new Map<string, { readonly next_hop: string; readonly fault: RouteFault }>();
  #outlook: Outlook | undefined;
  #tunnel_count = 0;
  #route_count = 0;

  // --- what is told

  /** A route to another node; undefined: none. Any text is taken: one that makes no sense is a fault, and no route. */
  setRoute(prefix_text: string, next_hop_text: string | undefined): void {
    const prefix = canonicalPrefix(prefix_text);
    const next_hop = next_hop_text === undefined ? undefined : canonicalAddress(next_hop_text);
    this.#senseless.delete(prefix_text);
    if (next_hop_text !== undefined && (prefix === undefined || next_hop === undefined)) {
      const fault = prefix === undefined ? 'no_prefix' : 'no_next_hop';
      if (this.#senseless.size < senseless_max)
        this.#senseless.set(prefix_text, { next_hop: next_hop_text, fault });
    }
    if (prefix === undefined) return;
    const entry = this.#entries.get(prefix);
    if (entry?.next_hop?.address === next_hop) return;
    const told = entry ?? this.#entry(prefix);
    if (told.next_hop !== undefined) this.#part(told, told.next_hop);
    told.next_hop = next_hop === undefined ? undefined : this.#hop(next_hop);
    told.next_hop?.entries.add(told);
    this.#touched.add(told);
  }

  /** What has no longer route within this canonical prefix is dropped, unless a route to the prefix itself leads elsewhere. */
  setDropped(prefix: string, dropped: boolean): void {
    const entry = this.#entries.get(prefix);
    if ((entry?.dropped ?? false) === dropped) return;
    const told = entry ?? this.#entry(prefix);
    told.dropped = dropped;
    this.#touched.add(told);
  }

  setPool(name: string, pool: IpPool | undefined): void {
    for (const bits of this.#pools.set(name, pool)) {
      for (const entry of this.#within.within(bits)) this.#touched.add(entry);
    }
  }

  /** The node is another, or its tunnels are. */
  setOutlook(outlook: Outlook): void {
    const before = this.#outlook;
    this.#outlook = outlook;
    if (before === undefined || !outlook.seesRoutesAs(before)) {
      for (const entry of this.#entries.values()) this.#touched.add(entry);
    } else if (outlook.settings.vxlan_vni !== before.settings.vxlan_vni) {
      for (const hop of this.#hops.values()) {
        if ([...hop.tunnels.values()].some(({ tunnel }) => tunnel.kind === 'vxlan_tunnel'))
          for (const entry of hop.entries) this.#touched.add(entry);
      }
    }
    if (before === undefined || outlook.makesTunnelsAs(before)) return;
    for (const hop of this.#hops.values()) if (hop.tunnels.size > 0) this.#touched_hops.add(hop);
  }

  /** Prefixes for which a route was told, as canonical text. */
  *remotePrefixes(): Iterable<string> {
    for (const { prefix, next_hop } of this.#entries.values()) if (next_hop !== undefined) yield prefix;
  }

  // --- what follows

  /** Plans at most so many prefixes, and tells the sink what is wanted otherwise than before. True: nothing is left to be planned. */
  plan(max: number, sink: Sink): boolean {
    const outlook = this.#outlook;
    if (outlook === undefined) return true;
    let left = max;
    for (const entry of this.#touched) {
      if (left === 0) return false;
      left -= 1;
      this.#touched.delete(entry);
      this.#planEntry(entry, outlook, sink);
    }
    for (const hop of this.#touched_hops) {
      if (left <= 0) return false;
      left -= 1;
      this.#touched_hops.delete(hop);
      this.#renew(hop, outlook, sink);
    }
    return true;
  }

  #planEntry(entry: Entry, outlook: Outlook, sink: Sink): void {
    const { next_hop: hop, bits, prefix } = entry;
    const way = hop && outlook.way(prefix, bits, hop.address, hop.bits, this.#pools.of(bits));
    entry.fault = way?.fault;
    if (entry.fault === undefined) this.#faulty.delete(entry);
    else this.#faulty.add(entry);
    const leads = way !== undefined && way.fault === undefined;
    const tunnel = leads ? way.tunnel : undefined;
    // The tunnel is wanted before what goes by it, and is wanted no more behind it.
    const before = entry.tunnel;
    if (tunnel !== undefined && tunnel.tag !== before?.tag)
      this.#use(this.#hop(tunnel.dst), tunnel, outlook, sink);
    entry.tunnel = tunnel;
    if (leads) this.#want(entry, remoteRoute(prefix, hop!.address, tunnel), sink);
    else if (entry.dropped) this.#want(entry, dropRoute(prefix), sink);
    else this.#unwant(entry, sink);
    if (before !== undefined && before.tag !== tunnel?.tag) this.#leave(before, sink);
    if (hop === undefined && !entry.dropped) this.#forget(entry);
  }

  #want(entry: Entry, route: Route, sink: Sink): void {
    const before = entry.route;
    if (before !== undefined && isSamePath(before, route)) return;
    entry.route = route;
    if (before === undefined) this.#route_count += 1;
    sink.want(route);
  }

  #unwant(entry: Entry, sink: Sink): void {
    const before = entry.route;
    if (before === undefined) return;
    entry.route = undefined;
    this.#route_count -= 1;
    sink.unwant(before);
  }

  // --- tunnels

  #use(hop: Hop, tunnel: Tunnel, outlook: Outlook, sink: Sink): void {
    const used = hop.tunnels.get(tunnel.tag);
    if (used !== undefined) {
      used.routes += 1;
      return;
    }
    hop.tunnels.set(tunnel.tag, { tunnel, routes: 1 });
    this.#tunnel_count += 1;
    for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    this.#routeNode(hop, sink);
  }

  #leave({ tag, dst }: Tunnel, sink: Sink): void {
    const hop = this.#hop(dst);
    const used = hop.tunnels.get(tag)!;
    used.routes -= 1;
    if (used.routes > 0) return;
    hop.tunnels.delete(tag);
    this.#tunnel_count -= 1;
    this.#routeNode(hop, sink);
    sink.unwant(used.tunnel);
    this.#forgetHop(hop);
  }

  /** Its tunnels have another source, MTU or port by now. */
  #renew(hop: Hop, outlook: Outlook, sink: Sink): void {
    for (const used of hop.tunnels.values()) {
      const tunnel = outlook.renewed(used.tunnel);
      // One that has another tag, or none, has lost its routes by now, or is going to.
      if (tunnel?.tag !== used.tunnel.tag) continue;
      used.tunnel = tunnel;
      for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    }
  }

  /** Of several tunnels to one node, the first by its tag. */
  #routeNode(hop: Hop, sink: Sink): void {
    let first: Tunnel | undefined;
    for (const { tunnel } of hop.tunnels.values())
      if (first === undefined || tunnel.tag < first.tag) first = tunnel;
    const before = hop.route;
    const route = first && nodeRoute(first);
    if (route !== undefined && before !== undefined && isSamePath(before, route)) return;
    hop.route = route;
    if (route !== undefined) sink.want(route);
    else if (before !== undefined) sink.unwant(before);
  }

  // --- what is known

  #entry(prefix: string): Entry {
    const entry = new Entry(prefix, bitsOf(prefix));
    this.#entries.set(prefix, entry);
    this.#within.add(entry);
    return entry;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.prefix);
    this.#within.delete(entry);
  }

  #hop(address: string): Hop {
    const known = this.#hops.get(address);
    if (known !== undefined) return known;
    const hop = new Hop(address, bitsOf(address));
    this.#hops.set(address, hop);
    return hop;
  }

  #part(entry: Entry, hop: Hop): void {
    hop.entries.delete(entry);
    this.#forgetHop(hop);
  }

  #forgetHop(hop: Hop): void {
    if (hop.entries.size === 0 && hop.tunnels.size === 0) this.#hops.delete(hop.address);
  }

  // --- for people

  get counts() {
    return {
      prefixes: this.#entries.size,
      routes: this.#route_count,
      tunnels: this.#tunnel_count,
      next_hops: this.#hops.size,
      pools: this.#pools.count,
      faulty: this.#faulty.size + this.#senseless.size,
    };
  }

  /** By object, what is wrong and what to do; as many as somebody wants to read. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    yield* this.#pools.faults();
    for (const { name, prefix, bits } of this.#pools.gone) {
      let routes = 0;
      for (const { next_hop, bits: inner } of this.#within.within(bits)) {
        if (next_hop !== undefined && this.#pools.of(inner) === undefined) routes += 1;
      }
      if (routes === 0) continue;
      yield [
        `IPPool ${name}`,
        `(${prefix}) is deleted while ${routes} routes lead to its addresses, which go without a tunnel now: delete their pods, or make the pool anew`,
      ];
    }
    for (const [prefix, { next_hop, fault }] of this.#senseless) {
      yield [`route ${prefix.slice(0, 64)}`, routeFaultText(fault, next_hop.slice(0, 64))];
    }
    for (const { prefix, fault, next_hop } of this.#faulty) {
      if (fault !== undefined && next_hop !== undefined)
        yield [`route ${prefix}`, routeFaultText(fault, next_hop.address)];
    }
  }

  /** What is wanted for a prefix, and by whom it was told: for `why` questions. */
  wanted(prefix: string): Route | undefined {
    return this.#entries.get(prefix)?.route;
  }
}

/** Both have one path. */
function isSamePath(a: Route, b: Route): boolean {
  const [one] = a.paths;
  const [other] = b.paths;
  if (one === undefined || other === undefined || one.via !== other.via) return false;
  switch (one.via) {
    case 'interface':
      return (
        other.via === 'interface' && one.interface === other.interface && one.next_hop === other.next_hop
      );
    case 'next_hop':
      return other.via === 'next_hop' && one.next_hop === other.next_hop;
    default:
      return true;
  }
}
