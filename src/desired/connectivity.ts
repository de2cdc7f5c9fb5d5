/**
 * What VPP holds for the way to other nodes: a route for each prefix, and the tunnels that routes go by, each once however many they are.
 * Kept in place: a change has what it touches planned anew, a pool the routes within it, a next hop those to it, and nothing else. Pure:
 * what is wanted is told to a `Sink`, as a Model is told.
 *
 *   setRoute, setDropped, setPool, setOutlook ──▶ entries to be planned ──plan(n, sink)──▶ want, unwant
 */
import { isDeepStrictEqual } from 'node:util';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { AddressIndex } from '../ip/address-index.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixIndex } from '../ip/prefix-index.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import type { VppObject } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';
import type { IpipTunnel } from '../objects/tunnels.js';
import { Carriers6 } from './carriers6.js';
import { firstOf, NodeIndex } from './node-index.js';
import { Pools } from './pools.js';
import {
  type Drop,
  Entry,
  goesBefore,
  Hop,
  isByTunnel,
  isKeptBack,
  type Leg,
  maySteer,
  no_uses,
  sameAddresses,
  tunnelTo,
  Use,
  undroppedFault,
} from './remote-entry.js';
import { RemotePeers } from './remote-peers.js';
import { type Course, RemotePolicies } from './remote-policies.js';
import {
  drop_paths,
  nodeRoute,
  type Outlook,
  type Paths,
  routeTo,
  steered_paths,
  type Tunnel,
  type TunnelKind,
  tunnelObjects,
  type Way,
} from './remote-route.js';
import { Senseless } from './senseless.js';
import { SharedLists, sameList } from './shared-lists.js';
import { sid_pool_names } from './srv6.js';
import { OwnSegments } from './srv6-objects.js';
import { default_table, pods_table } from './tables.js';
import { Touched } from './touched.js';
import type { Peer } from './wireguard.js';

export interface Sink {
  /** It is wanted, in this version. */
  want(object: VppObject): void;
  /** It is wanted no more; it was, in this version. */
  unwant(object: VppObject): void;
  /** See PolicySink. */
  hasOther?(object: VppObject): boolean;
}

export class Connectivity {
  readonly #pools = new Pools();
  readonly #entries = new Map<string, Entry>();
  readonly #within = new PrefixIndex<Entry>();
  readonly #hops = new Map<string, Hop>();
  readonly #ends = new AddressIndex<Hop>();
  /** This one's among them. */
  readonly #nodes = new NodeIndex();
  /** Drops that would cut something off. */
  readonly #undropped = new Set<Entry>();
  /** To be planned. */
  readonly #touched = new Touched<Entry>();
  /** Tunnels of these are to be looked at. */
  readonly #touched_hops = new Set<Hop>();
  readonly #faulty = new Set<Entry>();
  /** Those that are dropped as they are a pool's. */
  #pool_drops = new Set<Entry>();
  #pools_changed = true;
  readonly #senseless = new Senseless();
  readonly #carriers6 = new Carriers6();
  readonly #peers = new RemotePeers({
    prefixesBy: (address) => this.#prefixesBy(address, true),
    prefixesBeside: (address) => this.#prefixesBy(address, false),
    nodes: () => this.#nodes.all(),
  });
  readonly #policies = new RemotePolicies({
    isOfPods: (address) => isOfPods(this.#pools.of(bitsOf(address))),
    hostSteered: (address, is_steered, sink) => this.#setHost(address, is_steered, sink),
  });
  readonly #segments = new OwnSegments();
  /** Addresses of nodes to which packets go by SRv6. */
  readonly #steered_hosts = new Set<string>();
  readonly #hop_lists = new SharedLists<Hop>();
  readonly #leg_lists = new SharedLists<Leg>();
  readonly #use_lists = new SharedLists<Use>();
  readonly #path_lists = new SharedLists<Path>();
  #outlook: Outlook | undefined;
  #tunnel_count = 0;
  #route_count = 0;
  #far_count = 0;

  // --- what is told

  /**
   * Routes to other nodes, or routers, by each of these next hops; none: there is no route. Any text is taken: what makes no sense is a fault, and
   * no route.
   */
  setRoute(prefix_text: string, next_hop_texts: readonly string[]): void {
    const prefix = canonicalPrefix(prefix_text);
    const addresses = this.#senseless.addressesOf(prefix_text, prefix, next_hop_texts);
    if (prefix === undefined) return;
    const entry = this.#entries.get(prefix);
    if (sameAddresses(entry?.hops ?? [], addresses)) return;
    const told = entry ?? this.#entry(prefix);
    const before = told.hops;
    told.hops = this.#hopsAt(addresses);
    for (const { address } of before) this.#peers.touch(address);
    for (const hop of told.hops) {
      hop.entries.add(told);
      this.#peers.touch(hop.address);
    }
    for (const hop of before)
      if (!told.hops.includes(hop) && !told.legs.some((leg) => leg.hop === hop)) this.#part(told, hop);
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
    const node = address === undefined ? undefined : this.#nodes.set(address, there);
    if (node === undefined) return;
    for (const entry of this.#holders(node)) {
      // What a peer may be sent must not come to hold the address of another one.
      for (const hop of entry.hops) this.#peers.touchNow(hop.address);
      if (
        entry.drop !== undefined ||
        entry.pool_drop !== undefined ||
        entry.legs.some(({ way }) => isByTunnel(way) || way === 'holds_node')
      )
        this.#touched.add(entry);
    }
  }

  /** A node is a peer of WireGuard's, or is none. */
  setPeer(name: string, peer: Peer | undefined): void {
    this.#touchBy(this.#peers.set(name, peer));
  }

  /** An SR policy is told, as `sr-policy.ts` has it; no text: it is gone. */
  setPolicy(key: string, text: string | undefined): void {
    this.#touchBy(this.#policies.set(key, text));
  }

  /** VPP has refused to make a policy with this binding SID: somebody else has that. */
  setPolicyRefused(bsid: string): void {
    this.#touchBy(this.#policies.setRefused(bsid));
  }

  /** Or it does not make this policy at all. */
  givePolicyUp(bsid: string, why: string): void {
    this.#touchBy(this.#policies.giveUp(bsid, why));
  }

  /** Another VPP: what the one before has refused of policies is tried again. */
  forgetPolicyRefusals(): void {
    this.#policies.forgetRefusals();
  }

  /** A node, by whichever address it is reached, has the others, too. */
  setNodeAddresses(
    name: string,
    addresses: { readonly ip4?: string; readonly ip6?: string } | undefined,
  ): void {
    this.#touchBy(this.#policies.setNode(name, addresses));
  }

  #touchBy(next_hops: Iterable<string>): void {
    for (const address of next_hops)
      for (const entry of this.#hops.get(address)?.entries ?? []) this.#touched.add(entry);
  }

  setPool(name: string, pool: IpPool | undefined): void {
    this.#pools_changed = true;
    this.#policies.touchAll();
    for (const bits of this.#pools.set(name, pool)) {
      for (const entry of this.#within.within(bits)) {
        this.#touched.add(entry);
        for (const { address } of entry.hops) this.#peers.touch(address);
      }
    }
  }

  /** The node is another, or its tunnels are. */
  setOutlook(outlook: Outlook): void {
    const before = this.#outlook;
    this.#outlook = outlook;
    this.#pools_changed = true;
    if (!isDeepStrictEqual(before?.srv6, outlook.srv6)) this.#policies.setSettings(outlook.srv6);
    if (before === undefined || !outlook.seesRoutesAs(before)) {
      for (const entry of this.#entries.values()) this.#touched.add(entry);
    } else {
      for (const hop of this.#hops.values()) {
        if ([...hop.tunnels.values()].some(({ tunnel }) => !outlook.names(tunnel)))
          for (const entry of hop.entries) this.#touched.add(entry);
      }
    }
    if (before === undefined || outlook.makesTunnelsAs(before)) return;
    this.#peers.touchAll();
    for (const hop of this.#hops.values()) if (hop.tunnels.size > 0) this.#touched_hops.add(hop);
  }

  /** VPP has refused to make this tunnel, or to set it up, or has it after all. True: something follows from it. `dst` absent: all nodes are behind it. */
  setRefused({ tag, dst }: { readonly tag: string; readonly dst?: string }, refused: boolean): boolean {
    const hops = dst === undefined ? this.#hops.values() : [this.#hops.get(dst)];
    let follows = false;
    for (const hop of hops) {
      const use = hop?.tunnels.get(tag);
      if (use === undefined || use.refused === refused) continue;
      use.refused = refused;
      for (const entry of use.hop.entries) if (entry.uses.includes(use)) this.#touched.add(entry);
      follows = true;
    }
    return follows;
  }

  /** Prefixes for which a route was told, as canonical text. */
  *remotePrefixes(): Iterable<string> {
    for (const { prefix, hops } of this.#entries.values()) if (hops.length > 0) yield prefix;
  }

  /** Those that were told of this canonical prefix, sorted; none: there is no route. */
  nextHops(prefix: string): readonly string[] {
    return this.#entries.get(prefix)?.hops.map(({ address }) => address) ?? [];
  }

  /** Where encryption is required, drops that a new VPP has before it has any other way. Of a pool with a node in it there is none: that would be cut off. */
  *poolDrops(): Iterable<Route> {
    for (const prefix of this.#pools.ofPods().keys())
      if (this.#nodes.firstIn(bitsOf(prefix)) === undefined) yield routeTo(prefix, drop_paths, default_table);
  }

  // --- what follows

  /** Plans at most so many prefixes, and tells the sink what is wanted otherwise than before. True: nothing is left to be planned. */
  plan(max: number, sink: Sink): boolean {
    const outlook = this.#outlook;
    if (outlook === undefined) return true;
    if (this.#pools_changed) this.#dropPools(outlook);
    this.#peers.plan(outlook, sink);
    this.#segments.plan(outlook, sink);
    this.#touchBy(this.#policies.plan(sink));
    let left = max;
    for (; this.#touched.size > 0; left -= 1) {
      if (left === 0) return false;
      this.#planEntry(this.#touched.take()!, outlook, sink);
    }
    for (const hop of this.#touched_hops) {
      if (left <= 0) return false;
      left -= 1;
      this.#touched_hops.delete(hop);
      this.#renew(hop, outlook, sink);
    }
    this.#peers.planEnd(outlook, sink);
    this.#policies.planEnd(sink);
    return true;
  }

  /** Nodes have other prefixes by now than WireGuard knows of: `planPeers`, when more may have come. */
  get peers_wait(): boolean {
    return this.#peers.waits;
  }

  /** Peers hold prefixes of routes that go another way by now: `releasePeers`, when these have moved at both ends. */
  get peers_hold(): boolean {
    return this.#peers.holds;
  }

  releasePeers(sink: Sink): void {
    this.#peers.release(this.#outlook, sink);
  }

  planPeers(sink: Sink): void {
    this.#peers.planFuller(this.#outlook, sink);
  }

  /** As routes are found to go by now, planned or not: peers are told before what leads by them. */
  *#prefixesBy(address: string, by_peer: boolean): Iterable<string> {
    const hop = this.#hops.get(address);
    const outlook = this.#outlook;
    if (hop === undefined || outlook === undefined) return;
    for (const entry of hop.entries) {
      if (!entry.hops.includes(hop)) continue;
      const way = this.#wayOf(entry, hop, this.#pools.of(entry), outlook);
      const is_meant = by_peer ? way === 'wireguard' : way !== 'wireguard' && way !== 'holds_node';
      if (is_meant) yield entry.prefix;
    }
  }

  #planEntry(entry: Entry, outlook: Outlook, sink: Sink): void {
    const { hops, uses: before } = entry;
    const pool = hops.length === 0 ? undefined : this.#pools.of(entry);
    const legs = hops.map((hop) => hop.leg(this.#wayOf(entry, hop, pool, outlook)));
    this.#setLegs(entry, legs.length === 1 ? legs[0]!.alone : this.#leg_lists.of(legs), sink);
    this.#countGone(entry, hops.length > 0 && pool === undefined);
    this.#countFar(entry, outlook);
    // A tunnel is wanted before what goes by it, and is wanted no more behind it.
    entry.uses = this.#usesOf(entry, outlook, sink);
    const left = this.#steer(entry, this.#courseOf(entry, pool, outlook), sink);
    this.#judge(entry);
    this.#wantRoute(entry, sink);
    left?.();
    // Behind the first route, so that it is known whether that one moves here from another way.
    for (const { hop } of entry.legs) this.#routeNode(hop, sink);
    for (const use of before) this.#leave(entry, use, sink);
    if (hops.length === 0 && entry.drop === undefined && entry.pool_drop === undefined) this.#forget(entry);
  }

  #wayOf(entry: Entry, hop: Hop, pool: IpPool | undefined, outlook: Outlook): Way {
    const family = entry.bytes.length === 4 ? 4 : 6;
    const is_peer = this.#peers.by(hop.address, family, outlook) !== undefined;
    const way = outlook.way(entry, hop, pool, is_peer, this.#pools.goneOf(entry)?.is_of_pods);
    return isByTunnel(way) && this.#nodes.firstIn(entry) !== undefined ? 'holds_node' : way;
  }

  /** Prefixes of pods, by one node: flows to several would all go to one. What has a node in it, or a SID, goes as ever. */
  #courseOf(entry: Entry, pool: IpPool | undefined, outlook: Outlook): Course | undefined {
    const [leg, another] = entry.legs;
    if (leg === undefined || another !== undefined || !isOfPods(pool)) return undefined;
    if (!maySteer(leg.way, outlook.isForIpsec(pool))) return undefined;
    if (this.#nodes.firstIn(entry) !== undefined || this.#policies.isReserved(entry.prefix)) return undefined;
    return this.#policies.courseTo(leg.hop.address, entry.bytes.length === 4 ? 4 : 6);
  }

  /** Answers what is to be done when its route leads elsewhere. */
  #steer(entry: Entry, course: Course | undefined, sink: Sink): (() => void) | undefined {
    const before = entry.steered;
    if (before?.course === course && before?.object.bsid === course?.policy?.bsid) return undefined;
    entry.steered = course && { course, object: this.#policies.steer(entry.prefix, course, sink) };
    if (before === undefined || before.course === course) return undefined;
    return () => {
      if (course === undefined) sink.unwant(before.object);
      this.#policies.leave(entry.prefix, before.course, sink);
    };
  }

  #setHost(address: string, is_steered: boolean, sink: Sink): void {
    if (is_steered) this.#steered_hosts.add(address);
    else this.#steered_hosts.delete(address);
    const hop = this.#hops.get(address);
    if (hop === undefined) return;
    this.#routeNode(hop, sink);
    this.#forgetHop(hop);
  }

  #usesOf(entry: Entry, outlook: Outlook, sink: Sink): readonly Use[] {
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

  #judge(entry: Entry): void {
    if (entry.legs.some((leg) => entry.faultOf(leg) !== undefined)) this.#faulty.add(entry);
    else this.#faulty.delete(entry);
  }

  #countFar(entry: Entry, outlook: Outlook): void {
    const far = entry.legs.some(({ hop, way }) => way === 'flat' && outlook.isFar(hop));
    if (far !== entry.far) this.#far_count += far ? 1 : -1;
    entry.far = far;
  }

  // --- drops

  /** Where encryption is required: what has no route there may not go by the default route. */
  #dropPools(outlook: Outlook): void {
    this.#pools_changed = false;
    const before = this.#pool_drops;
    this.#pool_drops = new Set();
    const pools = outlook.encrypts_only ? this.#pools.ofPods() : [];
    for (const [prefix, name] of pools) {
      const entry = this.#entries.get(prefix) ?? this.#entry(prefix);
      if (entry.pool_drop === undefined) this.#touched.add(entry);
      entry.pool_drop = { source: 'pool', by: `IPPool ${name}` };
      this.#pool_drops.add(entry);
    }
    for (const entry of before) {
      if (this.#pool_drops.has(entry)) continue;
      entry.pool_drop = undefined;
      this.#touched.add(entry);
    }
  }

  /** Where it may be dropped. Of an address in it that may not, it is told. */
  #dropOf(entry: Entry): Paths | undefined {
    const drop = entry.drop ?? entry.pool_drop;
    const is_harmful = drop !== undefined && this.#cutOff(entry) !== undefined;
    if (is_harmful) this.#undropped.add(entry);
    else this.#undropped.delete(entry);
    return drop === undefined || is_harmful ? undefined : drop_paths;
  }

  /** What would not be reached any more: a node, or the next hop of a route. One in an own block, or in a pool, is a pod, which has a longer route. */
  #cutOff(entry: Entry): string | undefined {
    const node = this.#nodes.firstIn(entry);
    const end = entry.drop?.source === 'service' ? firstOf(this.#ends, entry) : undefined;
    return node === undefined || (end !== undefined && end < node) ? end : node;
  }

  #touchDrops(holders: Iterable<Entry>): void {
    for (const entry of holders)
      if (entry.drop !== undefined || entry.pool_drop !== undefined) this.#touched.add(entry);
  }

  /** Those that have this address in their prefix. */
  *#holders(of: Bits & { readonly address: string }): Iterable<Entry> {
    for (const length of this.#ends.lengths(of)) {
      const holder = this.#entries.get(canonicalPrefix(`${of.address}/${length}`)!);
      if (holder !== undefined) yield holder;
    }
  }

  // --- tunnels through tunnels: VPP dies of a packet that would go round in them

  #setLegs(entry: Entry, legs: readonly Leg[], sink: Sink): void {
    const before = entry.legs;
    if (sameList(before, legs)) return;
    entry.legs = legs;
    for (const { hop, way } of [...before, ...legs]) if (way === 'wireguard') this.#peers.touch(hop.address);
    for (const { hop } of before) if (!entry.hops.includes(hop)) this.#part(entry, hop);
    if (this.#ends.within(entry).size === 0) return;
    const led = new Set([entry]);
    for (const each of led)
      for (const end of this.#ends.within(each)) for (const by_it of end.entries) led.add(by_it);
    led.delete(entry);
    for (const each of led) {
      this.#touched.add(each);
      // Before anything leads there.
      for (const use of each.uses) if (tunnelTo(use.hop) !== undefined) this.#bar(each, use, sink);
    }
  }

  #bar(entry: Entry, barred: Use, sink: Sink): void {
    entry.uses = entry.uses.filter((use) => use !== barred);
    this.#faulty.add(entry);
    this.#wantRoute(entry, sink);
    this.#leave(entry, barred, sink);
  }

  // --- what follows

  /** A pool that is deleted knows how many routes would be in it. */
  #countGone(entry: Entry, in_none: boolean): void {
    if (entry.gone_pool !== undefined) entry.gone_pool.routes -= 1;
    entry.gone_pool = in_none ? this.#pools.goneOf(entry) : undefined;
    if (entry.gone_pool !== undefined) entry.gone_pool.routes += 1;
  }

  #wantRoute(entry: Entry, sink: Sink): void {
    const paths = entry.steered === undefined ? entry.paths(this.#path_lists) : steered_paths;
    const is_kept_back = paths === undefined && this.#outlook?.encrypts_only === true && isKeptBack(entry);
    if (paths !== undefined || is_kept_back) this.#undropped.delete(entry);
    if (!is_kept_back) return this.#want(entry, paths ?? this.#dropOf(entry), default_table, sink);
    if (this.#nodes.firstIn(entry) === undefined) return this.#want(entry, drop_paths, default_table, sink);
    // This node has to reach the one in it: what pods send is dropped, and what is for that one alone has a way of its own.
    const is_node = entry.length === 8 * entry.bytes.length;
    this.#want(entry, is_node ? undefined : drop_paths, pods_table, sink);
  }

  #want(entry: Entry, paths: Paths | undefined, table_id: number, sink: Sink): void {
    const before = entry.route;
    if (sameList(before?.paths, paths) && (before === undefined || before.table_id === table_id)) return;
    entry.route = paths && routeTo(entry.prefix, paths, table_id);
    if (entry.route !== undefined) sink.want(entry.route);
    if (before !== undefined && before.table_id !== entry.route?.table_id) sink.unwant(before);
    this.#route_count += (entry.route === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
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
      if (kind !== 'wireguard')
        for (const object of tunnelObjects(tunnel, outlook.own, outlook.settings)) sink.want(object);
    }
    used.routes += 1;
    return used;
  }

  #leave(entry: Entry, used: Use, sink: Sink): void {
    const { hop, tunnel } = used;
    this.#carriers6.count(entry, tunnel, -1);
    used.routes -= 1;
    if (used.routes > 0) return;
    hop.tunnels.delete(tunnel.tag);
    this.#tunnel_count -= 1;
    this.#routeNode(hop, sink);
    if (used.kind !== 'wireguard') sink.unwant(tunnel);
    this.#forgetHop(hop);
  }

  /** Tunnels that carry IPv6 and are too narrow for it. */
  #narrow(): readonly (readonly [object: string, text: string])[] {
    return this.#outlook === undefined ? [] : this.#carriers6.faults(this.#outlook);
  }

  /** Its tunnels have another source or MTU by now. */
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
  #routeNode(hop: Hop, sink: Sink): void {
    let first: Use | undefined;
    let is_encrypted = false;
    for (const used of hop.tunnels.values()) {
      if (first === undefined || goesBefore(used, first)) first = used;
      if (isOfIke(used.tunnel)) is_encrypted = true;
    }
    const before = hop.route;
    const paths = this.#steered_hosts.has(hop.address) && !is_encrypted ? steered_paths : first?.paths;
    if (before?.paths === paths) return;
    hop.route = paths && nodeRoute(hop.address, paths);
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

  #hopsAt(addresses: readonly string[]): readonly Hop[] {
    const [only] = addresses;
    if (only !== undefined && addresses.length === 1) return this.#hop(only).alone;
    return this.#hop_lists.of(addresses.map((address) => this.#hop(address)));
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
    if (hop.entries.size > 0 || hop.tunnels.size > 0 || hop.route !== undefined) return;
    this.#hops.delete(hop.address);
    this.#ends.delete(hop);
    this.#touchDrops(hop.holders);
  }

  /** What is told of SR policies: `setPolicy`. */
  get policies(): Pick<RemotePolicies, 'keys' | 'told' | 'status'> {
    return this.#policies;
  }

  /** Peers of WireGuard's that are wanted in VPP, by the name of their node. */
  wantedPeers() {
    return this.#peers.wanted();
  }

  /** Tunnels that IKE brings up. */
  *ikeTunnels(): Iterable<IpipTunnel> {
    for (const { tunnels } of this.#hops.values())
      for (const { tunnel } of tunnels.values()) if (isOfIke(tunnel)) yield tunnel;
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
      faulty:
        this.#faulty.size +
        this.#senseless.count +
        this.#undropped.size +
        this.#narrow().length +
        this.#peers.counts.faulty +
        this.#policies.counts.faulty,
      policies: this.#policies.counts.policies,
      peers: this.#peers.counts.peers,
    };
  }

  /** By object, what is wrong and what to do; as many as somebody wants to read. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    yield* this.#pools.faults(this.#outlook?.encrypts_only);
    yield* this.#narrow();
    yield* this.#senseless.faults();
    yield* this.#peers.faults();
    yield* this.#policies.faults();
    for (const entry of this.#undropped) yield undroppedFault(entry, this.#cutOff(entry));
    for (const entry of this.#faulty)
      yield [
        `route ${entry.prefix}`,
        entry.faultText(({ hop }, fault) =>
          fault === 'holds_node' ? this.#nodes.firstIn(entry) : tunnelTo(hop)?.prefix,
        ),
      ];
  }
}

const isOfIke = (tunnel: Tunnel): tunnel is IpipTunnel =>
  tunnel.kind === 'ipip_tunnel' && tunnel.ike === true;

/** Pods have its addresses, and not SIDs alone. */
const isOfPods = (pool: IpPool | undefined): pool is IpPool =>
  pool !== undefined && !pool.name.startsWith(sid_pool_names);
