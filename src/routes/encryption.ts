/**
 * WireGuard, beside what VPP holds for it: whether it is asked for, this node's keys, what the Node says of them, and how the peers are.
 *
 *   FelixConfiguration ─┐                      ┌─▶ settings: the planner's
 *   state directory ────┼──▶ Encryption ───────┼─▶ publish: annotations of the own Node
 *   Node, VPP's dump ───┘                      └─▶ peers, faults, status
 */
import { isDeepStrictEqual } from 'node:util';
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';
import { type CalicoNode, node_annotation } from '../calico/kinds/node.js';
import { PeerNodes, type WireguardKeys, type WireguardSettings } from '../desired/wireguard.js';
import type { Family } from '../ip/text.js';
import { Publication, type Publish, publication_step } from '../k8s/publication.js';
import type { WireguardPeer } from '../objects/wireguard.js';
import type { PeerState } from '../vpp-conn/observe/wireguard.js';

export interface EncryptionParts {
  readonly node_name: string;
  /** The keys of this node, made when there are none. Throws with the file and the cause. */
  readonly keys: () => WireguardKeys;
  /** See Cluster.publishWireguardKeys. */
  readonly publish: Publish<PublishedKeys>;
  /** Nothing goes in clear, whether other nodes know the key or not. */
  readonly required: boolean;
}

/** What the own Node is to say; absent: nothing. */
export interface PublishedKeys {
  readonly key?: string;
  readonly key6?: string;
}

const areSame = (one: PublishedKeys, other: PublishedKeys): boolean =>
  one.key === other.key && one.key6 === other.key6;

/** Felix's, and what it does where a FelixConfiguration says nothing. */
const port_default = 51_820;
const port6_default = 51_821;

const both: readonly Family[] = [4, 6];

/** A handshake is made every 2 min while something is sent: an older one says nothing. Of a peer nobody sends to it may be older. */
const status_max = 1000;

interface Seen {
  readonly state: PeerState;
  /** When it was seen to be so first. */
  readonly since_ms: number;
}

export type FelixOf = (node_name: string) => Partial<FelixConfiguration>;

export class Encryption {
  readonly nodes: PeerNodes;
  readonly #parts: EncryptionParts;
  #keys: WireguardKeys | undefined;
  #key_fault: string | undefined;
  #settings: WireguardSettings | undefined;
  /** What FelixConfiguration asks for; the settings have those of them by which routes may go by now. */
  #asked: readonly Family[] = [];
  /** VPP does not make the interface, or does not set it up. */
  #is_refused = false;
  #own_node: CalicoNode | undefined;
  /** What the own Node says, as it was told. */
  #shown: PublishedKeys = {};
  /** What it says, told or written. */
  #published: PublishedKeys = {};
  /** On its way there. */
  readonly #publication: Publication<PublishedKeys>;
  /** By public key. */
  readonly #seen = new Map<string, Seen>();

  constructor(parts: EncryptionParts) {
    this.#parts = parts;
    this.nodes = new PeerNodes(parts.node_name);
    this.#publication = new Publication(parts.publish);
  }

  /**
   * How WireGuard is to be done; undefined: not at all. A change of the FelixConfiguration, or none: a file that was not readable may be. Without families
   * the interface is wanted, and nothing goes by it: VPP refuses it, or the other nodes cannot know the key yet.
   */
  settings(felix: Partial<FelixConfiguration>): WireguardSettings | undefined {
    this.#asked = both.filter(
      (family) => (family === 4 ? felix.wireguard_enabled : felix.wireguard_enabled6) === true,
    );
    const keys = this.#asked.length === 0 ? undefined : this.#ownKeys();
    if (keys === undefined) this.#is_refused = false;
    this.#settings = keys && {
      keys,
      families: this.#asked.filter((family) => this.#mayGoBy(family, keys)),
      port: portOf(felix),
      mtu: smallest(this.#asked, felix),
      keepalive_s: felix.wireguard_keepalive_s ?? 0,
    };
    return this.#settings;
  }

  #mayGoBy(family: Family, { public_key }: WireguardKeys): boolean {
    if (this.#is_refused) return false;
    return this.#parts.required || this.#shown[family === 4 ? 'key' : 'key6'] === public_key;
  }

  /** Something goes by it: it has peers. */
  get is_used(): boolean {
    return this.#settings !== undefined && this.#settings.families.length > 0;
  }

  /** VPP refuses the interface, or has it after all. True: the settings follow. */
  setRefused(refused: boolean): boolean {
    if (this.#is_refused === refused) return false;
    this.#is_refused = refused;
    return true;
  }

  #ownKeys(): WireguardKeys | undefined {
    try {
      this.#keys ??= this.#parts.keys();
      this.#key_fault = undefined;
    } catch (error) {
      this.#key_fault = (error as Error).message;
    }
    return this.#keys;
  }

  /** It is asked for, and cannot be done: to be tried again. */
  get lacksKeys(): boolean {
    return this.#key_fault !== undefined;
  }

  /** The own Node, as the API server shows it. True: the settings follow. */
  setOwnNode(node: CalicoNode | undefined): boolean {
    if (isDeepStrictEqual(this.#own_node, node)) return false;
    this.#own_node = node;
    // What was refused of another one may be taken of this one.
    if (this.#publication.pending?.given_up) this.#publication.forget();
    const before = this.#shown;
    this.#shown = {
      ...(node?.wireguard_key && { key: node.wireguard_key }),
      ...(node?.wireguard_key6 && { key6: node.wireguard_key6 }),
    };
    this.#published = this.#shown;
    return !areSame(before, this.#shown);
  }

  /**
   * Sees that the Node says what is so. To be called when all nodes are told: before that it may say so already. `is_up`: VPP has the interface, and what
   * others send to it arrives; what was published before that stays, as a VPP that died comes again.
   */
  publish(is_up: boolean): void {
    const keys = this.#is_refused ? undefined : this.#settings?.keys;
    if (keys !== undefined && !is_up) return;
    const wanted: PublishedKeys = {
      ...(keys && this.#asked.includes(4) && { key: keys.public_key }),
      ...(keys && this.#asked.includes(6) && { key6: keys.public_key }),
    };
    if (areSame(this.#publication.pending?.wanted ?? this.#published, wanted)) return;
    this.#publication.begin(wanted, () => {
      this.#published = wanted;
    });
  }

  stop(): void {
    this.#publication.stop();
  }

  /** What VPP says of its peers. Answers the keys of those that packets can go to. */
  see(states: readonly PeerState[], now_ms: number): ReadonlySet<string> {
    const established = new Set<string>();
    const known = new Set(states.map(({ public_key }) => public_key));
    for (const key of this.#seen.keys()) if (!known.has(key)) this.#seen.delete(key);
    for (const state of states) {
      const before = this.#seen.get(state.public_key);
      const is_same = before?.state.established === state.established && before.state.dead === state.dead;
      this.#seen.set(state.public_key, { state, since_ms: is_same ? before.since_ms : now_ms });
      if (state.established) established.add(state.public_key);
    }
    return established;
  }

  // --- for people

  get fault_count(): number {
    return [...this.faults()].length;
  }

  /** By object, what is wrong with it and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    if (this.#key_fault !== undefined)
      yield ['WireGuard', `has no key, and nothing is encrypted: ${this.#key_fault}; it is tried again`];
    if (this.#is_refused && this.#settings !== undefined)
      yield [
        'WireGuard',
        'is not made by VPP, or is not set up, and nothing is encrypted, nor told to other nodes: see why among what is refused, and whether VPP has the plugin (`show plugins`); it is tried again',
      ];
    const { wanted, cause, given_up } = this.#publication.pending ?? {};
    if (wanted !== undefined && cause !== undefined)
      yield [`Node ${this.#parts.node_name}`, untold(wanted, cause, given_up)];
    if (this.#settings !== undefined) yield* this.nodes.faults();
  }

  /** Of each peer how it is, and where it is not well, or a node is none, why and what to do. By the name of the node, so many of them. */
  status(
    peers: Iterable<readonly [name: string, peer: WireguardPeer]>,
    now_ms: number,
  ): Readonly<Record<string, string>> {
    const status: Record<string, string> = {};
    let left = status_max;
    for (const [name, peer] of peers) {
      if (left === 0) break;
      left -= 1;
      const lacking = this.#lacking(this.nodes.peer(name)?.families ?? both);
      status[name] = [this.#statusOf(peer, now_ms), ...lacking].join('; ');
    }
    for (const name of this.is_used ? this.nodes.keyless : []) {
      if (left === 0) break;
      left -= 1;
      status[name] = `no key, and ${this.#unencrypted('its pods')}`;
    }
    return status;
  }

  /** Of families that are encrypted here, and not by a peer that has these. */
  #lacking(has: readonly Family[]): readonly string[] {
    const lacking = this.#settings?.families.filter((family) => !has.includes(family)) ?? [];
    return lacking.map(
      (family) => `no key for IPv${family}, and ${this.#unencrypted(`its IPv${family} pods`)}`,
    );
  }

  #unencrypted(pods: string): string {
    const { wireguard_key, wireguard_key6 } = node_annotation;
    const how = this.#parts.required ? 'is dropped' : 'is in clear';
    return `what is sent to ${pods} ${how}: see that its node does WireGuard (/debug/sync there), and that its Node has ${wireguard_key} (IPv6: ${wireguard_key6})`;
  }

  #statusOf({ public_key, endpoint, port, allowed }: WireguardPeer, now_ms: number): string {
    const seen = this.#seen.get(public_key);
    const at = `${endpoint} port ${port}, ${allowed.length} prefixes`;
    if (seen === undefined) return `not in VPP yet (${at}): see what is refused`;
    const { state, since_ms } = seen;
    const seconds = Math.floor((now_ms - since_ms) / 1000);
    if (state.established) return `established for ${seconds} s (${at})`;
    return `no handshake for ${seconds} s (${at}): see that UDP port ${port} passes between the nodes, that the other node publishes the key that it has, and that both VPPs have a handler for chacha20-poly1305 (\`show crypto handlers\`)`;
  }
}

function untold({ key, key6 }: PublishedKeys, cause: string, given_up = false): string {
  const what =
    key === undefined && key6 === undefined
      ? 'still tells other nodes a WireGuard key, by which nothing arrives here'
      : 'does not tell other nodes its WireGuard key, and nothing goes by it between them';
  const then = given_up ? 'with another key or Node' : 'again';
  return `${what}: ${cause}; it is tried ${then}: ${publication_step}`;
}

/** Where a node with this configuration listens. One interface carries both families. */
export function portOf(felix: Partial<FelixConfiguration>): number {
  const only6 = felix.wireguard_enabled6 === true && felix.wireguard_enabled !== true;
  return only6 ? (felix.wireguard_port6 ?? port6_default) : (felix.wireguard_port ?? port_default);
}

/** The smallest that is asked for, as one interface carries both families. */
function smallest(families: readonly Family[], felix: Partial<FelixConfiguration>): number {
  const asked = families.flatMap(
    (family) => (family === 4 ? felix.wireguard_mtu : felix.wireguard_mtu6) || [],
  );
  return asked.length === 0 ? 0 : Math.min(...asked);
}
