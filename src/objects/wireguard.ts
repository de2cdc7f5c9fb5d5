/** WireGuard: the one interface of the node, and the other nodes as its peers. */
import type { Secret } from '../config/secret.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { dangling_prefix, type InterfaceTag } from './interfaces.js';
import { type Kinds, remove } from './kind.js';
import type { Ownership } from './owner.js';

/** Carries both inner families, whatever its own address is. */
export interface WireguardInterface {
  readonly kind: 'wireguard_interface';
  /** `wireguard_tag` */
  readonly tag: InterfaceTag;
  /** An own address, of either family. */
  readonly src: string;
  /** UDP. */
  readonly port: number;
  /** Base64 of 32 bytes. */
  readonly public_key: string;
  /** Base64 of 32 bytes; absent: as VPP shows it, which is not asked for it. */
  readonly private_key?: Secret;
}

/** VPP has each public key once, whatever interface it is a peer of. */
export interface WireguardPeer {
  readonly kind: 'wireguard_peer';
  readonly interface: InterfaceTag;
  /** Base64 of 32 bytes. */
  readonly public_key: string;
  readonly endpoint: string;
  /** UDP, at its end. */
  readonly port: number;
  /** Seconds between packets that keep the session; 0: none are sent for that. */
  readonly keepalive_s: number;
  /** Prefixes of both families that it may be the source of, and that are sent to it: 255 at most. */
  readonly allowed: readonly string[];
}

export type WireguardObject = WireguardInterface | WireguardPeer;

/** VPP has 63 characters for a tag; there is one such interface. */
export const wireguard_tag: InterfaceTag = 'wireguard';

/** VPP counts them in a byte. */
export const allowed_max = 255;

const owned = (tag: InterfaceTag): Ownership =>
  tag === wireguard_tag || tag.startsWith(dangling_prefix) ? 'connectivity' : 'foreign';

function canonicalPeer(o: WireguardPeer): WireguardPeer {
  const endpoint = canonicalAddress(o.endpoint) ?? o.endpoint;
  const allowed = [...new Set(o.allowed.map((prefix) => canonicalPrefix(prefix) ?? prefix))].sort();
  const is_same = allowed.length === o.allowed.length && allowed.every((each, at) => each === o.allowed[at]);
  return is_same && endpoint === o.endpoint ? o : { ...o, endpoint, allowed };
}

const sameList = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((each, at) => each === other[at]);

export const wireguard_kinds: Kinds<WireguardObject> = {
  // Nothing of it can be changed in place.
  wireguard_interface: {
    key: (o) => o.tag,
    canonical: (o) => {
      const src = canonicalAddress(o.src) ?? o.src;
      return src === o.src ? o : { ...o, src };
    },
    is: (o) => o.tag,
    owner: { by: 'name', of: (o) => owned(o.tag) },
    same: (wanted, there) =>
      wanted.src === there.src && wanted.port === there.port && wanted.public_key === there.public_key,
    add: 22,
    remove: remove.interface,
    change: 'remove_first',
    announced: true,
    goes_last: true,
  },
  // By its key, so that an end that has another key goes before it comes: VPP takes no second peer for what the first one may be sent. Before the
  // interface's routes, and when it is up: the first handshake begins with the peer.
  wireguard_peer: {
    key: (o) => o.public_key,
    canonical: canonicalPeer,
    on: (o) => [o.interface],
    owner: { by: 'interface', of: (o) => o.interface },
    same: (wanted, there) =>
      wanted.interface === there.interface &&
      wanted.endpoint === there.endpoint &&
      wanted.port === there.port &&
      wanted.keepalive_s === there.keepalive_s &&
      sameList(wanted.allowed, there.allowed),
    add: 55,
    remove: remove.address,
    change: 'remove_first',
  },
};
