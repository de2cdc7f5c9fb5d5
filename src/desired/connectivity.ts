/**
 * What VPP holds for the way to other nodes: a route for each prefix, and the tunnels that routes go by, each once however many they are.
 * Kept in place: a change has what it touches planned anew, a pool the routes within it, a next hop those to it, and nothing else. Pure:
 * what is wanted is told to a `Sink`, as a Model is told.
 *
 *   setRoute, setDropped, setPool, setOutlook ──▶ entries to be planned ──plan(n, sink)──▶ want, unwant
 */
import { isDeepStrictEqual } from 'node:util';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import { bitsOf } from '../ip/bits.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import type { Path, Route } from '../objects/routing.js';
import type { IpipTunnel } from '../objects/tunnels.js';
import { NodeIndex } from './node-index.js';
import { Pools } from './pools.js';
import { RemoteDrops } from './remote-drops.js';
import {
  type Drop,
  type Entry,
  type Hop,
  isByTunnel,
  isKeptBack,
  type Leg,
  maySteer,
  sameAddresses,
  tunnelTo,
  type Use,
} from './remote-entry.js';
import { RemotePeers } from './remote-peers.js';
import { type Course, RemotePolicies } from './remote-policies.js';
import { drop_paths, type Outlook, type Paths, routeTo, steered_paths, type Way } from './remote-route.js';
import { RemoteTable } from './remote-table.js';
import { RemoteTunnels } from './remote-tunnels.js';
import { Senseless } from './senseless.js';
import { SharedLists, sameList } from './shared-lists.js';
import type { Sink } from './sink.js';
import { sid_pool_names } from './srv6.js';
import { OwnSegments } from './srv6-objects.js';
import { default_table, pods_table } from './tables.js';
import type { Peer } from './wireguard.js';

/** To plan a peer of WireGuard's takes as long as to plan so many prefixes. */
const prefixes_of_peer = 8;

export class Connectivity {
  readonly #pools = new Pools();
  /** This one's among them. */
  readonly #nodes = new NodeIndex();
  readonly #table = new RemoteTable();
  readonly #drops = new RemoteDrops(this.#table, this.#nodes, this.#pools);
  readonly #tunnels = new RemoteTunnels(this.#table);
  readonly #faulty = new Set<Entry>();
  readonly #senseless = new Senseless();
  readonly #peers = new RemotePeers({
    prefixesBy: (address) => this.#prefixesBy(address, true),
    prefixesBeside: (address) => this.#prefixesBy(address, false),
    nodes: () => this.#nodes.all(),
  });
  readonly #policies = new RemotePolicies({
    isOfPods: (address) => isOfPods(this.#pools.of(bitsOf(address))),
    hostSteered: (address, is_steered, sink) => this.#tunnels.setSteered(address, is_steered, sink),
  });
  readonly #segments = new OwnSegments();
  readonly #leg_lists = new SharedLists<Leg>();
  readonly #path_lists = new SharedLists<Path>();
  #outlook: Outlook | undefined;
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
    if (sameAddresses(this.#table.get(prefix)?.hops ?? [], addresses)) return;
    const told = this.#table.entry(prefix);
    const before = told.hops;
    told.hops = this.#table.hopsAt(addresses);
    for (const { address } of before) this.#peers.touch(address);
    for (const hop of told.hops) {
      hop.entries.add(told);
      this.#peers.touch(hop.address);
    }
    for (const hop of before)
      if (!told.hops.includes(hop) && !told.legs.some((leg) => leg.hop === hop)) this.#table.part(told, hop);
    this.#table.touched.add(told);
  }

  /** What has no longer route within this canonical prefix is dropped, unless a route to the prefix itself leads elsewhere. */
  setDropped(prefix: string, drop: Drop | undefined): void {
    this.#drops.set(prefix, drop);
  }

  /** A node has this address, whether a route leads to it or not. Any text is taken. */
  setNode(address_text: string, there: boolean): void {
    const address = canonicalAddress(address_text);
    const node = address === undefined ? undefined : this.#nodes.set(address, there);
    if (node === undefined) return;
    for (const entry of this.#table.holders(node)) {
      // What a peer may be sent must not come to hold the address of another one.
      for (const hop of entry.hops) this.#peers.touchNow(hop.address);
      if (entry.is_dropped || isKeptBack(entry)) this.#table.touched.add(entry);
    }
  }

  /** A node is a peer of WireGuard's, or is none. */
  setPeer(name: string, peer: Peer | undefined): void {
    this.#table.touchBy(this.#peers.set(name, peer));
  }

  /** An SR policy is told, as `sr-policy.ts` has it; no text: it is gone. */
  setPolicy(key: string, text: string | undefined): void {
    this.#table.touchBy(this.#policies.set(key, text));
  }

  /** VPP has refused to make a policy with this binding SID: somebody else has that. */
  setPolicyRefused(bsid: string): void {
    this.#table.touchBy(this.#policies.setRefused(bsid));
  }

  /** Or it does not make this policy at all. */
  givePolicyUp(bsid: string, why: string): void {
    this.#table.touchBy(this.#policies.giveUp(bsid, why));
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
    this.#table.touchBy(this.#policies.setNode(name, addresses));
  }

  setPool(name: string, pool: IpPool | undefined): void {
    this.#drops.poolsChanged();
    this.#policies.touchAll();
    for (const bits of this.#pools.set(name, pool)) {
      for (const entry of this.#table.within(bits)) {
        this.#table.touched.add(entry);
        for (const { address } of entry.hops) this.#peers.touch(address);
      }
    }
  }

  /** The node is another, or its tunnels are. */
  setOutlook(outlook: Outlook): void {
    const before = this.#outlook;
    this.#outlook = outlook;
    this.#drops.poolsChanged();
    if (!isDeepStrictEqual(before?.srv6, outlook.srv6)) this.#policies.setSettings(outlook.srv6);
    if (before === undefined || !outlook.seesRoutesAs(before)) this.#table.touchAll();
    else this.#tunnels.touchUnnamed(outlook);
    if (before === undefined || outlook.makesTunnelsAs(before)) return;
    this.#peers.touchAll();
    this.#tunnels.touchAll();
  }

  /** VPP has refused to make this tunnel, or to set it up, or has it after all. True: something follows from it. `dst` absent: all nodes are behind it. */
  setRefused(tunnel: { readonly tag: string; readonly dst?: string }, refused: boolean): boolean {
    return this.#tunnels.setRefused(tunnel, refused);
  }

  /** Prefixes for which a route was told, as canonical text. */
  *remotePrefixes(): Iterable<string> {
    for (const { prefix, hops } of this.#table.entries()) if (hops.length > 0) yield prefix;
  }

  /** Those that were told of this canonical prefix, sorted; none: there is no route. */
  nextHops(prefix: string): readonly string[] {
    return this.#table.get(prefix)?.hops.map(({ address }) => address) ?? [];
  }

  /** Where encryption is required, drops that a new VPP has before it has any other way. Of a pool with a node in it there is none: that would be cut off. */
  poolDrops(): Iterable<Route> {
    return this.#drops.ofPools();
  }

  /** What pods send to this canonical prefix may go in no other way than encrypted, where that is required, and it has no node in it. */
  isOfPool(prefix: string): boolean {
    const bits = bitsOf(prefix);
    return this.#pools.of(bits) !== undefined && this.#nodes.firstIn(bits) === undefined;
  }

  // --- what follows

  /** Plans at most so many prefixes, and tells the sink what is wanted otherwise than before. True: nothing is left to be planned. */
  plan(max: number, sink: Sink): boolean {
    const outlook = this.#outlook;
    if (outlook === undefined) return true;
    this.#drops.planPools(outlook);
    if (!this.#peers.plan(Math.ceil(max / prefixes_of_peer), outlook, sink)) return false;
    this.#segments.plan(outlook, sink);
    this.#table.touchBy(this.#policies.plan(sink));
    let left = max;
    for (const { touched } = this.#table; touched.size > 0; left -= 1) {
      if (left === 0) return false;
      this.#planEntry(touched.take()!, outlook, sink);
    }
    if (!this.#tunnels.plan(left, outlook, sink)) return false;
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

  releasePeers(): void {
    this.#peers.release();
  }

  /** At most so many peers. True: none waits any more. */
  planPeers(max: number, sink: Sink): boolean {
    return this.#peers.planFuller(max, this.#outlook, sink);
  }

  /** Peers of WireGuard's that are wanted. */
  get peer_count(): number {
    return this.#peers.count;
  }

  /** As routes are found to go by now, planned or not: peers are told before what leads by them. */
  *#prefixesBy(address: string, by_peer: boolean): Iterable<string> {
    const hop = this.#table.hop(address);
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
    entry.uses = this.#tunnels.usesOf(entry, outlook, sink);
    const left = this.#steer(entry, this.#courseOf(entry, pool, outlook), sink);
    this.#judge(entry);
    this.#wantRoute(entry, sink);
    left?.();
    // Behind the first route, so that it is known whether that one moves here from another way.
    for (const { hop } of entry.legs) this.#tunnels.routeNode(hop, sink);
    for (const use of before) this.#tunnels.leave(entry, use, sink);
    if (hops.length === 0 && !entry.is_dropped) this.#table.forget(entry);
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

  #judge(entry: Entry): void {
    if (entry.legs.some((leg) => entry.faultOf(leg) !== undefined)) this.#faulty.add(entry);
    else this.#faulty.delete(entry);
  }

  #countFar(entry: Entry, outlook: Outlook): void {
    const far = entry.legs.some(({ hop, way }) => way === 'flat' && outlook.isFar(hop));
    if (far !== entry.far) this.#far_count += far ? 1 : -1;
    entry.far = far;
  }

  // --- tunnels through tunnels: VPP dies of a packet that would go round in them

  #setLegs(entry: Entry, legs: readonly Leg[], sink: Sink): void {
    const before = entry.legs;
    if (sameList(before, legs)) return;
    entry.legs = legs;
    for (const led of [before, legs])
      for (const { hop, way } of led)
        if (way === 'wireguard') this.#peers.touchPrefix(hop.address, entry.prefix, led === legs);
    for (const { hop } of before) if (!entry.hops.includes(hop)) this.#table.part(entry, hop);
    if (this.#table.hopsIn(entry).size === 0) return;
    const led = new Set([entry]);
    for (const each of led)
      for (const end of this.#table.hopsIn(each)) for (const by_it of end.entries) led.add(by_it);
    led.delete(entry);
    for (const each of led) {
      this.#table.touched.add(each);
      // Before anything leads there.
      for (const use of each.uses) if (tunnelTo(use.hop) !== undefined) this.#bar(each, use, sink);
    }
  }

  #bar(entry: Entry, barred: Use, sink: Sink): void {
    entry.uses = entry.uses.filter((use) => use !== barred);
    this.#faulty.add(entry);
    this.#wantRoute(entry, sink);
    this.#tunnels.leave(entry, barred, sink);
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
    if (paths !== undefined || is_kept_back) this.#drops.isLed(entry);
    if (!is_kept_back) return this.#want(entry, paths ?? this.#drops.pathsOf(entry), default_table, sink);
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

  /** What is told of SR policies: `setPolicy`. */
  get policies(): Pick<RemotePolicies, 'keys' | 'told' | 'status'> {
    return this.#policies;
  }

  /** Peers of WireGuard's that are wanted in VPP, by the name of their node. */
  wantedPeers() {
    return this.#peers.wanted();
  }

  /** Tunnels that IKE brings up. */
  ikeTunnels(): Iterable<IpipTunnel> {
    return this.#tunnels.ofIke();
  }

  // --- for people

  get counts() {
    return {
      prefixes: this.#table.prefix_count,
      routes: this.#route_count,
      /** Of these, flat ones with routers between. */
      far: this.#far_count,
      tunnels: this.#tunnels.count,
      next_hops: this.#table.hop_count,
      pools: this.#pools.count,
      faulty:
        this.#faulty.size +
        this.#senseless.count +
        this.#drops.fault_count +
        this.#tunnels.faults(this.#outlook).length +
        this.#peers.counts.faulty +
        this.#policies.counts.faulty,
      policies: this.#policies.counts.policies,
      peers: this.#peers.counts.peers,
    };
  }

  /** By object, what is wrong and what to do; as many as somebody wants to read. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    yield* this.#pools.faults(this.#outlook?.encrypts_only);
    yield* this.#tunnels.faults(this.#outlook);
    yield* this.#senseless.faults();
    yield* this.#peers.faults();
    yield* this.#policies.faults();
    yield* this.#drops.faults();
    for (const entry of this.#faulty)
      yield [
        `route ${entry.prefix}`,
        entry.faultText(({ hop }, fault) =>
          fault === 'holds_node' ? this.#nodes.firstIn(entry) : tunnelTo(hop)?.prefix,
        ),
      ];
  }
}

/** Pods have its addresses, and not SIDs alone. */
const isOfPods = (pool: IpPool | undefined): pool is IpPool =>
  pool !== undefined && !pool.name.startsWith(sid_pool_names);
