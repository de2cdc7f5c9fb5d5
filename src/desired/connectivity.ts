/**
 * What VPP holds for the way to other nodes: a route for each prefix, and the tunnels that routes go by, each once however many they are.
 * Kept in place: a change has what it touches planned anew, a pool the routes within it, a next hop those to it, and nothing else. Pure:
 * what is wanted is told to a `Sink`, as a Model is told.
 *
 *   setRoute, setDropped, setPool, setOutlook ──▶ entries to be planned ──plan(n, sink)──▶ want, unwant
 */
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { AddressIndex } from '../ip/address-index.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixIndex } from '../ip/prefix-index.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { familyOf } from '../ip/text.js';
import type { VppObject } from '../objects/object.js';
import type { Route } from '../objects/routing.js';
import { type GonePool, Pools } from './pools.js';
import {
  drop_paths,
  ip6_mtu_min,
  nodeRoute,
  type Outlook,
  type Paths,
  pathsBy,
  type RouteFault,
  routeFaultText,
  routeTo,
  type Tunnel,
  type TunnelKind,
  tunnelMtu,
  tunnelObjects,
  type Way,
} from './remote-route.js';

/** Prefixes and next hops that are none, of which is told. */
const senseless_max = 1000;

export interface Sink {
  /** It is wanted, in this version. */
  want(object: VppObject): void;
  /** It is wanted no more; it was, in this version. */
  unwant(object: VppObject): void;
}

/** Why what has no longer route in a prefix is dropped: it is an own block, or one of services that this node announces. */
export interface Drop {
  readonly source: 'block' | 'service';
  /** The object that says so, as people name it. */
  readonly by: string;
}

/** A prefix that somebody has told of. */
class Entry implements Bits {
  readonly bytes: string;
  readonly length: number;
  next_hop: Hop | undefined;
  /** How it was last found to go, whether it may or not, and to which next hop. */
  way: Way | undefined;
  way_hop: Hop | undefined;
  /** Where no route holds, its packets are dropped. */
  drop: Drop | undefined;
  /** What is wanted for it by now, and the tunnel that it goes by. */
  route: Route | undefined;
  tunnel: Use | undefined;
  fault: RouteFault | undefined;
  /** Flat, and routers are between. */
  far = false;
  /** It would be of this pool, which is deleted. */
  gone_pool: GonePool | undefined;

  constructor(
    readonly prefix: string,
    { bytes, length }: Bits,
  ) {
    this.bytes = bytes;
    this.length = length;
  }
}

/** A node, or a router, by the address that leads to it. */
class Hop implements Bits {
  readonly bytes: string;
  readonly length: number;
  readonly flat: Paths;
  /** Those that lead to it, as they are told or as they were last planned. */
  readonly entries = new Set<Entry>();
  /** Those that have it in their prefix. */
  readonly holders = new Set<Entry>();
  /** By tag: those by which routes go. */
  readonly tunnels = new Map<string, Use>();
  /** Of the node itself. */
  route: Route | undefined;

  constructor(readonly address: string) {
    const { bytes, length } = bitsOf(address);
    this.bytes = bytes;
    this.length = length;
    this.flat = pathsBy(address, undefined);
  }
}

interface NodeAddress extends Bits {
  readonly address: string;
}

/** A tunnel that is in use. */
class Use {
  readonly paths: Paths;
  routes = 0;

  constructor(
    readonly hop: Hop,
    readonly kind: TunnelKind,
    public tunnel: Tunnel,
  ) {
    this.paths = pathsBy(hop.address, tunnel);
  }
}

export class Connectivity {
  readonly #pools = new Pools();
  readonly #entries = new Map<string, Entry>();
  readonly #within = new PrefixIndex<Entry>();
  readonly #hops = new Map<string, Hop>();
  readonly #ends = new AddressIndex<Hop>();
  /** Addresses of nodes, this one's among them. */
  readonly #nodes = new Map<string, NodeAddress>();
  readonly #node_index = new AddressIndex<NodeAddress>();
  /** Drops that would cut something off. */
  readonly #undropped = new Set<Entry>();
  /** To be planned. */
  readonly #touched = new Set<Entry>();
  /** Tunnels of these are to be looked at. */
  readonly #touched_hops = new Set<Hop>();
  readonly #faulty = new Set<Entry>();
  /** Prefixes and next hops that are none, by the text they came as. */
  readonly #senseless = new Map<string, { readonly next_hop: string; readonly fault: RouteFault }>();
  /** By kind of tunnel and its outer family: one of them, and how many routes of IPv6 go by such. */
  readonly #carriers6 = new Map<string, { readonly tunnel: Tunnel; readonly routes: number }>();
  #outlook: Outlook | undefined;
  #tunnel_count = 0;
  #route_count = 0;
  #far_count = 0;

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
    const { next_hop: before } = told;
    if (before !== undefined && before !== told.way_hop) this.#part(told, before);
    told.next_hop = next_hop === undefined ? undefined : this.#hop(next_hop);
    told.next_hop?.entries.add(told);
    this.#touched.add(told);
  }

  /** What has no longer route within this canonical prefix is dropped, unless a route to the prefix itself leads elsewhere. */
  setDropped(prefix: string, drop: Drop | undefined): void {
    const entry = this.#entries.get(prefix);
    if (entry?.drop?.source === drop?.source && entry?.drop?.by === drop?.by) return;
    const told = entry ?? this.#entry(prefix);
    told.drop = drop;
    this.#touched.add(told);
  }

  /** A node has this address, whether a route leads to it or not. Any text is taken. */
  setNode(address_text: string, there: boolean): void {
    const address = canonicalAddress(address_text);
    if (address === undefined || this.#nodes.has(address) === there) return;
    const node = this.#nodes.get(address) ?? { address, ...bitsOf(address) };
    if (there) {
      this.#nodes.set(address, node);
      this.#node_index.add(node);
    } else {
      this.#nodes.delete(address);
      this.#node_index.delete(node);
    }
    for (const entry of this.#holders(node)) {
      if (entry.drop !== undefined || isByTunnel(entry.way) || entry.way === 'holds_node')
        this.#touched.add(entry);
    }
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
    } else {
      for (const hop of this.#hops.values()) {
        if ([...hop.tunnels.values()].some(({ tunnel }) => !outlook.names(tunnel)))
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
    const { next_hop: hop } = entry;
    const pool = hop && this.#pools.of(entry);
    const by = hop && outlook.way(entry, hop, pool);
    const way = isByTunnel(by) && this.#firstOf(this.#node_index, entry) !== undefined ? 'holds_node' : by;
    this.#setWay(entry, way, sink);
    this.#countGone(entry, hop !== undefined && pool === undefined);
    const before = entry.tunnel;
    entry.tunnel = undefined;
    entry.fault = undefined;
    let paths: Paths | undefined;
    const far = hop !== undefined && way === 'flat' && outlook.isFar(hop);
    if (far !== entry.far) this.#far_count += far ? 1 : -1;
    entry.far = far;
    if (hop !== undefined && way === 'flat') paths = hop.flat;
    else if (hop !== undefined && isByTunnel(way)) {
      // The tunnel is wanted before what goes by it, and is wanted no more behind it.
      if (this.#tunnelTo(hop) !== undefined) entry.fault = 'through_tunnel';
      else {
        entry.tunnel = this.#use(hop, way, outlook, sink);
        this.#count6(entry, entry.tunnel.tunnel, 1);
        paths = entry.tunnel.paths;
      }
    } else if (way !== undefined && way !== 'flat') entry.fault = way as RouteFault;
    if (entry.fault === undefined) this.#faulty.delete(entry);
    else this.#faulty.add(entry);
    this.#want(entry, paths ?? this.#dropOf(entry), sink);
    // Behind the first route, so that it is known whether that one moves here from another way.
    if (entry.tunnel !== undefined) this.#routeNode(entry.tunnel.hop, sink);
    if (before !== undefined) {
      this.#count6(entry, before.tunnel, -1);
      this.#leave(before, sink);
    }
    if (paths !== undefined) this.#undropped.delete(entry);
    if (hop === undefined && entry.drop === undefined) this.#forget(entry);
  }

  // --- drops

  /** Where it may be dropped. Of an address in it that may not, it is told. */
  #dropOf(entry: Entry): Paths | undefined {
    const is_harmful = entry.drop !== undefined && this.#cutOff(entry) !== undefined;
    if (is_harmful) this.#undropped.add(entry);
    else this.#undropped.delete(entry);
    return entry.drop === undefined || is_harmful ? undefined : drop_paths;
  }

  /** What would not be reached any more: a node, or the next hop of a route. One in an own block is a pod, which has a longer route. */
  #cutOff(entry: Entry): string | undefined {
    const node = this.#firstOf(this.#node_index, entry);
    const end = entry.drop?.source === 'service' ? this.#firstOf(this.#ends, entry) : undefined;
    return node === undefined || (end !== undefined && end < node) ? end : node;
  }

  /** The first of these in this prefix, by its text. */
  #firstOf<A extends NodeAddress>(index: AddressIndex<A>, entry: Entry): string | undefined {
    let first: string | undefined;
    for (const { address } of index.within(entry))
      if (first === undefined || address < first) first = address;
    return first;
  }

  #touchDrops(holders: Iterable<Entry>): void {
    for (const entry of holders) if (entry.drop !== undefined) this.#touched.add(entry);
  }

  /** Those that have this address in their prefix. */
  *#holders(of: Bits & { readonly address: string }): Iterable<Entry> {
    for (const length of this.#ends.lengths(of)) {
      const holder = this.#entries.get(canonicalPrefix(`${of.address}/${length}`)!);
      if (holder !== undefined) yield holder;
    }
  }

  // --- tunnels through tunnels: VPP dies of a packet that would go round in them

  #setWay(entry: Entry, way: Way | undefined, sink: Sink): void {
    const { way: way_before, way_hop: hop_before, next_hop: hop } = entry;
    if (way === way_before && hop === hop_before) return;
    entry.way = way;
    entry.way_hop = hop;
    if (hop_before !== undefined && hop_before !== hop) this.#part(entry, hop_before);
    if (this.#ends.within(entry).size === 0) return;
    const led = new Set([entry]);
    for (const each of led)
      for (const end of this.#ends.within(each)) for (const by_it of end.entries) led.add(by_it);
    led.delete(entry);
    for (const each of led) {
      this.#touched.add(each);
      // Before anything leads there.
      if (each.tunnel !== undefined && this.#tunnelTo(each.tunnel.hop) !== undefined)
        this.#bar(each, each.tunnel, sink);
    }
  }

  #bar(entry: Entry, tunnel: Use, sink: Sink): void {
    entry.tunnel = undefined;
    entry.fault = 'through_tunnel';
    this.#faulty.add(entry);
    this.#want(entry, this.#dropOf(entry), sink);
    this.#count6(entry, tunnel.tunnel, -1);
    this.#leave(tunnel, sink);
  }

  /**
   * A route that leads packets for this address into a tunnel, at once or by its next hop; undefined: none. Of all that hold it, and not of
   * the longest alone: so nothing depends on the order in which VPP hears of them.
   */
  #tunnelTo(hop: Hop): Entry | undefined {
    if (hop.holders.size === 0) return undefined;
    let first: Entry | undefined;
    const around = new Set([hop]);
    for (const each of around) {
      for (const holder of each.holders) {
        if (holder.way === 'flat') around.add(holder.way_hop!);
        else if (isByTunnel(holder.way))
          if (first === undefined || holder.prefix < first.prefix) first = holder;
      }
    }
    return first;
  }

  // --- what follows

  /** A pool that is deleted knows how many routes would be in it. */
  #countGone(entry: Entry, in_none: boolean): void {
    if (entry.gone_pool !== undefined) entry.gone_pool.routes -= 1;
    entry.gone_pool = in_none ? this.#pools.goneOf(entry) : undefined;
    if (entry.gone_pool !== undefined) entry.gone_pool.routes += 1;
  }

  #want(entry: Entry, paths: Paths | undefined, sink: Sink): void {
    const before = entry.route;
    if (before?.paths === paths) return;
    if (paths === undefined) {
      entry.route = undefined;
      this.#route_count -= 1;
      sink.unwant(before!);
      return;
    }
    if (before === undefined) this.#route_count += 1;
    entry.route = routeTo(entry.prefix, paths);
    sink.want(entry.route);
  }

  // --- tunnels

  #use(hop: Hop, kind: TunnelKind, outlook: Outlook, sink: Sink): Use {
    let used: Use | undefined;
    for (const each of hop.tunnels.values())
      if (each.kind === kind && outlook.names(each.tunnel)) used = each;
    if (used === undefined) {
      const tunnel = outlook.tunnel(kind, hop.address)!;
      used = new Use(hop, kind, tunnel);
      hop.tunnels.set(tunnel.tag, used);
      this.#tunnel_count += 1;
      for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    }
    used.routes += 1;
    return used;
  }

  #leave(used: Use, sink: Sink): void {
    const { hop, tunnel } = used;
    used.routes -= 1;
    if (used.routes > 0) return;
    hop.tunnels.delete(tunnel.tag);
    this.#tunnel_count -= 1;
    this.#routeNode(hop, sink);
    sink.unwant(tunnel);
    this.#forgetHop(hop);
  }

  #count6({ bytes }: Bits, tunnel: Tunnel, by: 1 | -1): void {
    if (bytes.length === 4) return;
    const name = `${tunnel.kind === 'ipip_tunnel' ? 'IPIP' : 'VXLAN'} over IPv${familyOf(tunnel.dst)}`;
    const routes = (this.#carriers6.get(name)?.routes ?? 0) + by;
    if (routes === 0) this.#carriers6.delete(name);
    else this.#carriers6.set(name, { tunnel, routes });
  }

  /** Tunnels that carry IPv6 and are too narrow for it. */
  #narrow(): (readonly [object: string, text: string])[] {
    const outlook = this.#outlook;
    if (outlook === undefined) return [];
    return [...this.#carriers6].flatMap(([name, { tunnel, routes }]) => {
      const mtu = tunnelMtu(tunnel, outlook.own, outlook.settings);
      if (mtu >= ip6_mtu_min) return [];
      const text = `have an MTU of ${mtu}, and IPv6, of which ${routes} routes go by them, needs ${ip6_mtu_min}: raise the MTU of the uplinks (${outlook.own.mtu}), or that of FelixConfiguration`;
      return [[`tunnels ${name}`, text] as const];
    });
  }

  /** Its tunnels have another source or MTU by now. */
  #renew(hop: Hop, outlook: Outlook, sink: Sink): void {
    for (const used of hop.tunnels.values()) {
      const tunnel = outlook.tunnel(used.kind, hop.address);
      // Routes were planned before: one that cannot be any more, or has another tag, has lost them, and is not here.
      if (tunnel === undefined) continue;
      used.tunnel = tunnel;
      for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    }
  }

  /** Of several tunnels to one node, the first by its tag. */
  #routeNode(hop: Hop, sink: Sink): void {
    let first: Use | undefined;
    for (const used of hop.tunnels.values())
      if (first === undefined || used.tunnel.tag < first.tunnel.tag) first = used;
    const before = hop.route;
    if (before?.paths === first?.paths) return;
    hop.route = first && nodeRoute(hop.address, first.paths);
    if (hop.route !== undefined) sink.want(hop.route);
    else sink.unwant(before!);
  }

  // --- what is known

  #entry(prefix: string): Entry {
    const entry = new Entry(prefix, bitsOf(prefix));
    this.#entries.set(prefix, entry);
    this.#within.add(entry);
    for (const hop of this.#ends.within(entry)) hop.holders.add(entry);
    return entry;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.prefix);
    this.#within.delete(entry);
    for (const hop of this.#ends.within(entry)) hop.holders.delete(entry);
  }

  #hop(address: string): Hop {
    const known = this.#hops.get(address);
    if (known !== undefined) return known;
    const hop = new Hop(address);
    this.#hops.set(address, hop);
    this.#ends.add(hop);
    for (const holder of this.#holders(hop)) hop.holders.add(holder);
    this.#touchDrops(hop.holders);
    return hop;
  }

  #part(entry: Entry, hop: Hop): void {
    hop.entries.delete(entry);
    this.#forgetHop(hop);
  }

  #forgetHop(hop: Hop): void {
    if (hop.entries.size > 0 || hop.tunnels.size > 0) return;
    this.#hops.delete(hop.address);
    this.#ends.delete(hop);
    this.#touchDrops(hop.holders);
  }

  // --- for people

  get counts() {
    return {
      prefixes: this.#entries.size,
      routes: this.#route_count,
      /** Of these, flat ones with routers between. */
      far: this.#far_count,
      tunnels: this.#tunnel_count,
      next_hops: this.#hops.size,
      pools: this.#pools.count,
      faulty: this.#faulty.size + this.#senseless.size + this.#undropped.size + this.#narrow().length,
    };
  }

  /** By object, what is wrong and what to do; as many as somebody wants to read. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    yield* this.#pools.faults();
    yield* this.#narrow();
    for (const [prefix, { next_hop, fault }] of this.#senseless) {
      yield [`route ${prefix.slice(0, 64)}`, routeFaultText(fault, next_hop.slice(0, 64))];
    }
    for (const entry of this.#undropped) {
      yield [
        entry.drop?.by ?? `route ${entry.prefix}`,
        `has ${entry.prefix}, with ${this.#cutOff(entry)} in it, to which packets go from here: what no service has is not dropped; take that address out`,
      ];
    }
    for (const entry of this.#faulty) {
      const { prefix, fault, next_hop } = entry;
      if (fault === undefined || next_hop === undefined) continue;
      const with_it =
        fault === 'holds_node' ? this.#firstOf(this.#node_index, entry) : this.#tunnelTo(next_hop)?.prefix;
      yield [`route ${prefix}`, routeFaultText(fault, next_hop.address, with_it)];
    }
  }
}

function isByTunnel(way: Way | undefined): way is TunnelKind {
  return way === 'ipip' || way === 'vxlan';
}
