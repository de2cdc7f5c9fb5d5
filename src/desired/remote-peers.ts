/** WireGuard's interface and the peers that are wanted in VPP, from the nodes and the routes that lead to them. Kept in place. Pure. */
import { isDeepStrictEqual } from 'node:util';
import type { Bits } from '../ip/bits.js';
import { type Family, familyOf } from '../ip/text.js';
import type { VppObject } from '../objects/object.js';
import type { WireguardPeer } from '../objects/wireguard.js';
import { type Outlook, tunnelObjects } from './remote-route.js';
import type { Sink } from './sink.js';
import {
  endpointOf,
  type Peer,
  type PlannedPeer,
  padded_fault,
  peerAddresses,
  planPeer,
} from './wireguard.js';

/** What it asks of who knows the routes. */
export interface PeerRoutes {
  /** Prefixes to which routes lead by WireGuard, by this address of a node: they hold no node's address. */
  prefixesBy(address: string): Iterable<string>;
  /** Likewise, by that address and another way. */
  prefixesBeside(address: string): Iterable<string>;
  /** Addresses of all nodes. */
  nodes(): readonly Bits[];
}

interface Known {
  peer: Peer | undefined;
  object: WireguardPeer | undefined;
  fault: string | undefined;
  /** What may be sent to it: what leads by it, and what did a moment ago. */
  prefixes: ReadonlySet<string>;
  /** Of those what led by it a moment ago, and longer ago: the node goes on to send it, and packets by it, until the other way is up. */
  held: ReadonlySet<string>;
  held_before: ReadonlySet<string>;
}

const no_prefixes: ReadonlySet<string> = new Set();

export class RemotePeers {
  readonly #routes: PeerRoutes;
  readonly #known = new Map<string, Known>();
  /** Names by address; of several nodes with one address the first by its name is meant, by routes as by peers. */
  readonly #names = new Map<string, Set<string>>();
  /** To be planned: names. */
  readonly #touched = new Set<string>();
  /** Of these other prefixes are to be told, no more: the session of a peer that is told anew is lost for a moment. */
  readonly #fuller = new Set<string>();
  /** The interface with what is set on it. */
  #wanted: readonly VppObject[] = [];
  /** With which that was planned. */
  #planned: Outlook | undefined;

  constructor(routes: PeerRoutes) {
    this.#routes = routes;
  }

  /** Answers the addresses to which routes may go another way by now. */
  set(name: string, peer: Peer | undefined): readonly string[] {
    const known = this.#known.get(name) ?? {
      peer: undefined,
      object: undefined,
      fault: undefined,
      prefixes: no_prefixes,
      held: no_prefixes,
      held_before: no_prefixes,
    };
    if (isDeepStrictEqual(known.peer, peer)) return [];
    const before = known.peer === undefined ? [] : peerAddresses(known.peer);
    const now = peer === undefined ? [] : peerAddresses(peer);
    // One of the others with these addresses may be who is meant from now on, or is no more.
    const changed = new Set([name]);
    for (const address of [...before, ...now])
      for (const other of this.#names.get(address) ?? []) changed.add(other);
    for (const address of before) {
      const names = this.#names.get(address);
      names?.delete(name);
      if (names?.size === 0) this.#names.delete(address);
    }
    known.peer = peer;
    for (const address of now) this.#names.set(address, (this.#names.get(address) ?? new Set()).add(name));
    this.#known.set(name, known);
    const others: string[] = [];
    for (const each of changed) {
      this.#touched.add(each);
      const other = this.#known.get(each)?.peer;
      if (other !== undefined) others.push(...peerAddresses(other));
    }
    return [...before, ...others];
  }

  /** The peer that packets of this family go to by this address of a node; undefined: none, or not encrypted. */
  by(address: string, family: Family, outlook: Outlook): Peer | undefined {
    const { wireguard } = outlook;
    if (wireguard === undefined || this.#names.size === 0) return undefined;
    if (familyOf(address) !== family || !wireguard.families.includes(family)) return undefined;
    const peer = this.#known.get(this.#nameOf(address) ?? '')?.peer;
    if (peer === undefined || !peer.families.includes(family)) return undefined;
    const endpoint = endpointOf(peer, outlook.wireguard_family);
    return endpoint === undefined || this.#nameOf(endpoint) !== peer.name ? undefined : peer;
  }

  /** The node that is meant by this address, among those that say anything of WireGuard: all that is sent there can go to one peer alone. */
  #nameOf(address: string): string | undefined {
    return [...(this.#names.get(address) ?? [])].sort()[0];
  }

  /** Routes lead to this address of a node that did not, or do no more. */
  touch(address: string): void {
    if (this.#names.size === 0) return;
    const name = this.#nameOf(address);
    if (name !== undefined) this.#fuller.add(name);
  }

  /** A route to this prefix leads by WireGuard to this address of a node from now on, or does no more. */
  touchPrefix(address: string, prefix: string, leads: boolean): void {
    if (leads && this.#sends(address, prefix)) return;
    this.touch(address);
  }

  /** Its peer was planned with that route already. */
  #sends(address: string, prefix: string): boolean {
    const known = this.#known.get(this.#nameOf(address) ?? '');
    if (known?.object === undefined || !known.prefixes.has(prefix)) return false;
    return !known.held.has(prefix) && !known.held_before.has(prefix);
  }

  /** Likewise, and that cannot wait. */
  touchNow(address: string): void {
    const name = this.#nameOf(address);
    if (name !== undefined) this.#touched.add(name);
  }

  /** All of them are to be looked at. */
  touchAll(): void {
    for (const name of this.#known.keys()) this.#touched.add(name);
  }

  /** Other prefixes are to be told: `planFuller`. */
  get waits(): boolean {
    return this.#fuller.size > 0;
  }

  /** Before routes are planned: what they lead by is wanted before them. At most so many peers. True: none is left. */
  plan(max: number, outlook: Outlook, sink: Sink): boolean {
    const { wireguard } = outlook;
    if (wireguard !== undefined && this.#planned !== outlook) {
      this.#wanted = tunnelObjects(outlook.wireguardInterface(wireguard), outlook.own, outlook.settings);
      for (const object of this.#wanted) sink.want(object);
    }
    this.#planned = outlook;
    let left = max;
    for (const name of this.#touched) {
      if (!this.#isWanted(name, outlook)) continue;
      if (left === 0) return false;
      left -= 1;
      this.#touched.delete(name);
      this.#planOne(name, outlook, sink);
    }
    return true;
  }

  /** Behind the routes: what they lead by no more goes. */
  planEnd(outlook: Outlook, sink: Sink): void {
    for (const name of this.#touched) this.#planOne(name, outlook, sink);
    this.#touched.clear();
    if (outlook.wireguard !== undefined || this.#wanted.length === 0) return;
    // With what is set on it: who is told so of an interface knows that.
    sink.unwant(this.#wanted[0]!);
    this.#wanted = [];
  }

  #isWanted(name: string, outlook: Outlook): boolean {
    return outlook.wireguard !== undefined && this.#known.get(name)?.peer !== undefined;
  }

  /** Some hold prefixes that lead elsewhere by now: `release`, after a time in which all routes have moved at both ends. */
  get holds(): boolean {
    for (const { held, held_before } of this.#known.values())
      if (held.size > 0 || held_before.size > 0) return true;
    return false;
  }

  /** What was held at the last one of these is so no more: who held it waits to be planned, as a thousand of them take a tenth of a second. */
  release(): void {
    for (const [name, known] of this.#known) {
      if (known.held.size === 0 && known.held_before.size === 0) continue;
      const over = known.held_before;
      known.held_before = known.held;
      known.held = no_prefixes;
      if (over.size === 0) continue;
      known.prefixes = new Set([...known.prefixes].filter((prefix) => !over.has(prefix)));
      this.#fuller.add(name);
    }
  }

  /** So many of those that wait. True: no other one does. */
  planFuller(max: number, outlook: Outlook | undefined, sink: Sink): boolean {
    if (outlook === undefined) return true;
    let left = max;
    for (const name of this.#fuller) {
      if (left === 0) return false;
      left -= 1;
      this.#fuller.delete(name);
      this.#planOne(name, outlook, sink);
    }
    return true;
  }

  #planOne(name: string, outlook: Outlook, sink: Sink): void {
    const known = this.#known.get(name);
    if (known === undefined) return;
    this.#fuller.delete(name);
    const { peer, object: before } = known;
    const planned = peer && this.#plannedOf(peer, known, outlook);
    const now = planned?.object;
    known.object = now;
    known.fault = planned?.fault;
    // With another key it is another one to VPP, which takes no two for one prefix: that one goes first.
    if (before !== undefined && before.public_key !== now?.public_key) sink.unwant(before);
    if (now !== undefined && !isDeepStrictEqual(before, now)) sink.want(now);
    if (peer === undefined) this.#known.delete(name);
  }

  /** Of addresses that another node has, too, it has those by which it is meant: what VPP may send to two peers goes to the one told last. */
  #plannedOf(peer: Peer, known: Known, outlook: Outlook): PlannedPeer | undefined {
    const { wireguard, wireguard_family } = outlook;
    if (wireguard === undefined) return undefined;
    const endpoint = endpointOf(peer, wireguard_family);
    const meant = endpoint === undefined ? undefined : this.#nameOf(endpoint);
    if (meant !== undefined && meant !== peer.name) {
      const fault = `has the address ${endpoint} of Node ${meant}, too, which is the peer of WireGuard there, and is none itself: delete the Node that is not there any more, or give each its own`;
      return { object: undefined, fault };
    }
    const own = peerAddresses(peer).filter((address) => this.#nameOf(address) === peer.name);
    const prefixes = this.#prefixesOf(own, known);
    const planned = planPeer(peer, own, wireguard, wireguard_family, prefixes, () => this.#routes.nodes());
    const is_damaged = planned.object !== undefined && peer.of_linux === true && outlook.settings.gso;
    return is_damaged
      ? { ...planned, fault: [planned.fault, padded_fault].filter(Boolean).join('; it ') }
      : planned;
  }

  #prefixesOf(own: readonly string[], known: Known): readonly string[] {
    const by = new Set(own.flatMap((address) => [...this.#routes.prefixesBy(address)]));
    const beside =
      known.prefixes.size === 0 ? [] : own.flatMap((address) => [...this.#routes.prefixesBeside(address)]);
    const held = beside.filter((prefix) => known.prefixes.has(prefix) && !by.has(prefix));
    known.held_before = new Set(held.filter((prefix) => known.held_before.has(prefix)));
    known.held = new Set(held.filter((prefix) => !known.held_before.has(prefix)));
    known.prefixes = held.length === 0 ? by : new Set([...by, ...held]);
    return [...known.prefixes];
  }

  get count(): number {
    let peers = 0;
    for (const { object } of this.#known.values()) if (object !== undefined) peers += 1;
    return peers;
  }

  get counts() {
    let peers = 0;
    let faulty = 0;
    for (const { object, fault } of this.#known.values()) {
      if (object !== undefined) peers += 1;
      if (fault !== undefined) faulty += 1;
    }
    return { peers, faulty };
  }

  /** Those that are wanted in VPP, by the name of their node. */
  *wanted(): Iterable<readonly [name: string, peer: WireguardPeer]> {
    for (const [name, { object }] of this.#known) if (object !== undefined) yield [name, object];
  }

  /** By object, what is wrong with it and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const [name, { fault }] of this.#known) if (fault !== undefined) yield [`Node ${name}`, fault];
  }
}
