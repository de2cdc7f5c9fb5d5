/**
 * The other nodes as peers of this one's WireGuard: what they say of themselves, and what VPP is to have for it. Pure.
 *
 *   Node (key, addresses) ──▶ PeerNodes ──▶ Peer: usable or not, and why ──▶ WireguardPeer
 */
import type { CalicoNode } from '../calico/kinds/node.js';
import type { Secret } from '../config/secret.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import type { Family } from '../ip/text.js';
import { allowed_max, type WireguardPeer, wireguard_tag } from '../objects/wireguard.js';
import { allowedPrefixes } from './allowed-prefixes.js';
import { addressOf } from './node-addresses.js';
import { hostPrefix } from './tables.js';

/** Base64 of 32 bytes each. */
export interface WireguardKeys {
  readonly public_key: string;
  readonly private_key: Secret;
}

/** How this node does WireGuard. */
export interface WireguardSettings {
  readonly keys: WireguardKeys;
  /** What pods send of these is encrypted; none: the interface is wanted, and nothing goes by it. */
  readonly families: readonly Family[];
  /** UDP, where this node listens. */
  readonly port: number;
  /** 0: what the uplink leaves. */
  readonly mtu: number;
  readonly keepalive_s: number;
}

/** Another node, as it can be a peer of anybody's. */
export interface Peer {
  readonly name: string;
  readonly public_key: string;
  /** Of these it says that it encrypts what its pods send. */
  readonly families: readonly Family[];
  readonly ip4?: string;
  readonly ip6?: string;
  /** UDP, where it listens. */
  readonly port: number;
  /** It has Linux' dataplane, whose WireGuard fills packets up, as those of all others do but VPP's. */
  readonly of_linux?: true;
}

/** What is told of a node, where it says anything of WireGuard. */
interface Told {
  readonly peer: Peer;
  /** It has another key for IPv6. */
  readonly other_key6: boolean;
}

const families: readonly Family[] = [4, 6];

const peerAddress = (peer: Peer, family: Family): string | undefined => (family === 4 ? peer.ip4 : peer.ip6);

export const peerAddresses = (peer: Peer): readonly string[] =>
  families.flatMap((family) => peerAddress(peer, family) ?? []);

/**
 * Of a node's own end. VPP sends from the one address of the interface, to ends of its family alone: two nodes are peers where this is the same for both,
 * and each knows it of the other.
 */
export const endFamily = ({ ip4 }: { readonly ip4?: string }): Family => (ip4 === undefined ? 6 : 4);

/** Where it is reached from an end of this family; undefined: it is not. */
export const endpointOf = (peer: Peer, family: Family): string | undefined =>
  endFamily(peer) === family ? peerAddress(peer, family) : undefined;

/** What the nodes say of themselves. */
export class PeerNodes {
  readonly #own_name: string;
  readonly #told = new Map<string, Told>();
  /** Others, that say nothing of WireGuard. */
  readonly #keyless = new Set<string>();
  /** Who has this key: the first by its name has it, all others are none. */
  readonly #names = new Map<string, Set<string>>();
  #own_key: string | undefined;

  constructor(own_name: string) {
    this.#own_name = own_name;
  }

  /** The key that this node publishes. Answers the nodes that are peers, or are not, from then on. */
  setOwnKey(public_key: string | undefined): Iterable<string> {
    const before = this.#own_key;
    this.#own_key = public_key;
    if (before === public_key) return [];
    return [before, public_key].flatMap((key) => [...(this.#names.get(key ?? '') ?? [])]);
  }

  /** Answers the names of those that may be others from then on. `port`: where that node listens. */
  set(name: string, node: CalicoNode | undefined, port: number): Iterable<string> {
    const before = this.#told.get(name);
    const now = node === undefined || name === this.#own_name ? undefined : told(node, port);
    const touched = new Set([name]);
    if (before !== undefined) {
      const names = this.#names.get(before.peer.public_key);
      names?.delete(name);
      for (const other of names ?? []) touched.add(other);
      if (names?.size === 0) this.#names.delete(before.peer.public_key);
    }
    if (node === undefined || name === this.#own_name || now !== undefined) this.#keyless.delete(name);
    else this.#keyless.add(name);
    if (now === undefined) this.#told.delete(name);
    else {
      this.#told.set(name, now);
      const names = this.#names.get(now.peer.public_key) ?? new Set();
      this.#names.set(now.peer.public_key, names.add(name));
      for (const other of names) touched.add(other);
    }
    return touched;
  }

  /** Undefined: it is none. */
  peer(name: string): Peer | undefined {
    const peer = this.#told.get(name)?.peer;
    return peer === undefined || this.#holder(peer.public_key) !== name ? undefined : peer;
  }

  /** Who has this key. */
  nameOf(public_key: string): string | undefined {
    return this.#holder(public_key);
  }

  /** Nodes that have no key. */
  get keyless(): Iterable<string> {
    return this.#keyless;
  }

  get count(): number {
    return this.#told.size;
  }

  #holder(public_key: string): string | undefined {
    if (public_key === this.#own_key) return undefined;
    return [...(this.#names.get(public_key) ?? [])].sort()[0];
  }

  /** By object, what is wrong with it and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const [name, { peer, other_key6 }] of this.#told) {
      const holder = this.#holder(peer.public_key);
      if (holder !== name) {
        yield [
          `Node ${name}`,
          `has the WireGuard key of node ${holder ?? this.#own_name}, and is no peer: remove the file wireguard.key from the state directory of one of the two, and restart it`,
        ];
      } else if (other_key6) {
        yield [
          `Node ${name}`,
          'has two WireGuard keys, one for each address family, as nodes with the dataplane of Linux do, and VPP is the peer of one: what is sent to its IPv6 pods is not encrypted',
        ];
      }
    }
  }
}

function told(node: CalicoNode, port: number): Told | undefined {
  const { name, wireguard_key, wireguard_key6 } = node;
  const public_key = wireguard_key ?? wireguard_key6;
  if (public_key === undefined) return undefined;
  const ip4 = addressOf(node, 4);
  const ip6 = addressOf(node, 6);
  const other_key6 = wireguard_key6 !== undefined && wireguard_key6 !== public_key;
  const own = families.filter((family) => (family === 4 ? wireguard_key : wireguard_key6) === public_key);
  // Calico gives addresses to WireGuard's interfaces of Linux.
  const of_linux = node.wireguard_ip4 !== undefined || node.wireguard_ip6 !== undefined;
  const ends = { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) };
  return {
    peer: { name, public_key, families: own, port, ...ends, ...(of_linux && { of_linux }) },
    other_key6,
  };
}

/** What VPP is to have of a peer, and what is wrong with it. */
export interface PlannedPeer {
  readonly object: WireguardPeer | undefined;
  readonly fault: string | undefined;
}

function endFault(peer: Peer, family: Family): string {
  if (peerAddress(peer, family) === undefined)
    return `has no IPv${family} address, by which this node does WireGuard, and is no peer: give it one`;
  return `does WireGuard by its IPv${endFamily(peer)} address, and this node, which has none, by its IPv${family} address: neither is the other's peer; give this node an IPv${endFamily(peer)} address`;
}

/** VPP's GRO takes for data what is behind the end of the IP packet (docs/vpp-notes.md). */
export const padded_fault =
  'has Linux’ dataplane, whose WireGuard fills packets up, and VPP joins segments of TCP with that in them: what its pods send by TCP over IPv4 arrives damaged; set gsoEnabled of CALICOVPP_DEBUG to false on this node, and restart its pods';

/**
 * `addresses`: those by which it is meant. `family`: of this node's own end. `prefixes`: to which routes lead by it, and that hold no node. `nodes`: addresses of all nodes, which no
 * prefix may come to hold when it is made wider.
 */
export function planPeer(
  peer: Peer,
  addresses: readonly string[],
  { keepalive_s }: WireguardSettings,
  family: Family,
  prefixes: Iterable<string>,
  nodes: () => readonly Bits[],
): PlannedPeer {
  const endpoint = endpointOf(peer, family);
  if (endpoint === undefined) return { object: undefined, fault: endFault(peer, family) };
  // Routes lead to these, and they stay as they are.
  const own = new Set(addresses.map(hostPrefix));
  const others = [...prefixes].filter((prefix) => !own.has(prefix));
  const count = own.size + others.length;
  const kept_out = count > allowed_max ? [...nodes(), ...addresses.map(bitsOf)] : [];
  const allowed = allowedPrefixes(others, allowed_max - own.size, kept_out);
  if (allowed === undefined) {
    const fault = `has ${count} prefixes, and VPP takes ${allowed_max} of a WireGuard peer: take larger blocks (blockSize of the pools)`;
    return { object: undefined, fault };
  }
  return {
    object: {
      kind: 'wireguard_peer',
      interface: wireguard_tag,
      public_key: peer.public_key,
      endpoint,
      port: peer.port,
      keepalive_s,
      allowed: [...own, ...allowed.prefixes].sort(),
    },
    fault:
      allowed.wider === 0
        ? undefined
        : `has ${count} prefixes, and VPP takes ${allowed_max} of a WireGuard peer: ${allowed.wider} stand for addresses that are not its own, too, which it could send from; take larger blocks (blockSize of the pools)`,
  };
}
