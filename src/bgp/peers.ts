/** Whom this node peers with: BGPPeers, the mesh of all nodes, selectors, route reflectors, peers that peer back. Pure. */
import type { BgpPeer } from '../calico/kinds/bgp-peer.js';
import type { SecretKeyRef } from '../calico/kinds/kind.js';
import type { CalicoNode } from '../calico/kinds/node.js';
import type { SecretValues } from '../calico/kinds/secret.js';
import { parseSelector, type Selector } from '../calico/selector.js';
import type { Secret } from '../config/secret.js';
import { type Family, familyOf } from '../ip/text.js';
import {
  asNumberOf,
  type BgpSettings,
  type Configurations,
  listen_port_default,
  listenPortOf,
  restart_ms_default,
} from './settings.js';
import type { Troubles } from './troubles.js';

export interface WantedPeer {
  /** GoBGP knows a peer by it: there is one for each. */
  readonly address: string;
  readonly port: number;
  readonly as_number: number;
  /** Of this end; that of the node unless the peer is told another. */
  readonly local_as: number;
  /** Where the session is from. Absent: where Linux' routes say. */
  readonly local_address?: string;
  /** The other end opens the session. */
  readonly passive: boolean;
  readonly password?: Secret;
  /** It is to have a password, which nobody can read now: it is not made, and one that is there keeps the password that it has. */
  readonly pending?: true;
  readonly restart_s: number;
  readonly hold_s: number;
  readonly keepalive_s: number;
  readonly allowed_local_as: number;
  readonly ttl_security_hops?: number;
  /** This node reflects routes to and from it, as of this cluster. */
  readonly cluster_id?: string;
  readonly next_hop_mode: BgpPeer['next_hop_mode'];
  readonly filters: readonly string[];
  /** Gateway to it. */
  readonly reachable_by?: string;
  /** The object by which it is. */
  readonly by: string;
  /** SR policies are told and taken, beside routes: of two sessions with one node by that of IPv6 alone, over which their packets go. */
  readonly sr_policies?: true;
  /** Routes of networks are told and taken, too. */
  readonly networks?: true;
}

export interface PeersInputs {
  readonly node_name: string;
  /** The node's addresses, as its uplink has them. */
  readonly addresses: { readonly ip4?: string; readonly ip6?: string };
  readonly nodes: ReadonlyMap<string, CalicoNode>;
  readonly configurations: Configurations;
  readonly peers: ReadonlyMap<string, BgpPeer>;
  /** By name; undefined: there is none. Absent: not known yet. */
  readonly secrets: ReadonlyMap<string, SecretValues | undefined>;
  /** This node does SRv6. */
  readonly sr_policies?: boolean;
  /** There are networks beside the default one. */
  readonly has_networks?: boolean;
}

export interface WantedPeers {
  /** By address. */
  readonly peers: ReadonlyMap<string, WantedPeer>;
  /** Names of Secrets that are to be known. */
  readonly secrets: readonly string[];
}

/** TCP's MD5 option takes no longer key. */
const password_bytes_max = 80;
const hold_s_default = 90;
const keepalive_s_default = 30;
/** Graceful restart has 12 bits for its seconds; GoBGP sends the lower ones of what it is given. */
const restart_s_max = 4095;
const hold_s_max = 65_535;

/** What a peer has of its object, the mesh's being an object like others. */
type PeerSource = Pick<
  BgpPeer,
  | 'local_as_number'
  | 'password'
  | 'source_address'
  | 'max_restart_ms'
  | 'keepalive_ms'
  | 'allowed_local_as'
  | 'ttl_security_hops'
  | 'reachable_by'
  | 'filters'
  | 'next_hop_mode'
> & { readonly by: string };

interface Remote {
  readonly address: string;
  readonly port: number;
  readonly as_number: number;
  readonly cluster_id?: string;
  /** It is a node of this cluster, which follows the same rule of who opens the session. */
  readonly node?: string;
}

type Password = { readonly password?: Secret } | { readonly why: string };

class Planner {
  readonly peers = new Map<string, WantedPeer>();
  readonly secrets = new Set<string>();
  readonly #own: CalicoNode | undefined;
  /** By address, the first node that has it. */
  readonly #nodes_by_address = new Map<string, CalicoNode>();

  constructor(
    readonly inputs: PeersInputs,
    readonly settings: BgpSettings,
    readonly troubles: Troubles,
  ) {
    this.#own = inputs.nodes.get(inputs.node_name);
    const { ip4, ip6 } = inputs.addresses;
    for (const node of byName(inputs.nodes)) {
      if (node.name === inputs.node_name) continue;
      for (const { address } of [node.ip4, node.ip6].filter((each) => each !== undefined)) {
        const other = this.#nodes_by_address.get(address);
        if (address === ip4 || address === ip6)
          troubles.add(`Node ${node.name}`, `its address ${address} is this node's: no peer`);
        else if (other !== undefined)
          troubles.add(`Node ${node.name}`, `its address ${address} is Node ${other.name}'s: no peer`);
        else this.#nodes_by_address.set(address, node);
      }
    }
  }

  run(): void {
    const { inputs, settings } = this;
    const all = byName(inputs.peers);
    const isGlobal = ({ node, node_selector }: BgpPeer) => node === undefined && node_selector === undefined;
    // Those for all nodes come first, as in Calico; the first of an address counts.
    const ordered = [...all.filter(isGlobal), ...all.filter((peer) => !isGlobal(peer))];
    const own = ordered.filter((peer) => this.#selects(peer, this.#own, inputs.node_name));
    for (const peer of own) {
      this.#report(peer);
      for (const remote of this.#remotes(peer))
        this.#add(remote, { ...peer, by: `BGPPeer ${peer.name}` }, true);
    }
    for (const peer of ordered) {
      if (peer.peer_selector === undefined || peer.reverse_peering !== 'Auto') continue;
      if (this.#own === undefined || !selectorOf(peer.peer_selector)(this.#own.labels)) continue;
      const back = this.#remotesOf((node) => this.#selects(peer, node, node.name));
      for (const remote of back) this.#add(remote, { ...peer, by: `BGPPeer ${peer.name}` }, false);
    }
    if (!settings.mesh_enabled || this.#own?.cluster_id !== undefined) return;
    const mesh: PeerSource = {
      by: 'BGPConfiguration default',
      ...(settings.mesh_password && { password: settings.mesh_password }),
      source_address: 'UseNodeIP',
      max_restart_ms: settings.mesh_restart_ms,
      filters: [],
      next_hop_mode: 'Auto',
    };
    for (const remote of this.#remotesOf((node) => node.cluster_id === undefined))
      this.#add(remote, mesh, false);
  }

  /**
   * Told by both sessions with a node they would be two paths of one policy: what one session takes back would hold as long as the other one is broken, and
   * its paths are kept for its return.
   */
  takeFromOneSession(): void {
    for (const [address, peer] of this.peers) {
      const ip6 = this.#nodes_by_address.get(address)?.ip6?.address;
      if (familyOf(address) === 6 || ip6 === undefined || !this.peers.has(ip6)) continue;
      const { sr_policies: _, ...others } = peer;
      this.peers.set(address, others);
    }
  }

  /** Whether the object is for this node to peer. */
  #selects({ node, node_selector }: BgpPeer, of: CalicoNode | undefined, name: string): boolean {
    if (node !== undefined) return node === name;
    return node_selector === undefined || selectorOf(node_selector)(of?.labels ?? {});
  }

  #report(peer: BgpPeer): void {
    const object = `BGPPeer ${peer.name}`;
    if (peer.local_workload_selector !== undefined)
      this.troubles.add(
        object,
        'spec.localWorkloadSelector: is not supported: pods of this node are no BGP peers',
      );
    for (const field of peer.unknown_fields)
      this.troubles.add(object, `${field}: is not known, and has no effect`);
  }

  #remotes(peer: BgpPeer): readonly Remote[] {
    const { peer_address: address, as_number, peer_selector } = peer;
    if (address !== undefined && as_number !== undefined) {
      const { ip4, ip6 } = this.inputs.addresses;
      if (address === ip4 || address === ip6) return [];
      // Where it is a node: its port is known, and whether it reflects routes, too.
      const node = this.#nodes_by_address.get(address);
      const is_global = peer.node === undefined && peer.node_selector === undefined;
      return [
        {
          address,
          port:
            peer.peer_port ??
            (node === undefined ? listen_port_default : listenPortOf(node.name, this.inputs.configurations)),
          as_number,
          // What all nodes have the other one has, too: it follows the same rule.
          ...(is_global && node !== undefined && { node: node.name }),
          ...(node?.cluster_id !== undefined && { cluster_id: node.cluster_id }),
        },
      ];
    }
    if (peer_selector === undefined) return [];
    const matches = selectorOf(peer_selector);
    return this.#remotesOf(({ labels }) => matches(labels));
  }

  /** The addresses of these nodes in the families that this one has. */
  #remotesOf(wanted: (node: CalicoNode) => boolean): readonly Remote[] {
    const { configurations } = this.inputs;
    const remotes: Remote[] = [];
    for (const [address, node] of this.#nodes_by_address) {
      if (this.#ownAddress(familyOf(address)) === undefined || !wanted(node)) continue;
      remotes.push({
        address,
        port: listenPortOf(node.name, configurations),
        as_number: asNumberOf(node, node.name, configurations),
        node: node.name,
        ...(node.cluster_id !== undefined && { cluster_id: node.cluster_id }),
      });
    }
    return remotes;
  }

  #ownAddress(family: Family): string | undefined {
    return family === 4 ? this.inputs.addresses.ip4 : this.inputs.addresses.ip6;
  }

  #add(remote: Remote, source: PeerSource, explicit: boolean): void {
    const { address } = remote;
    const { by } = source;
    const known = this.peers.get(address);
    if (known !== undefined) {
      if (explicit && known.by !== by)
        this.troubles.add(by, `${address} is a peer by ${known.by} already: remove one of them`);
      return;
    }
    const own_address = this.#ownAddress(familyOf(address));
    if (own_address === undefined) {
      this.troubles.add(by, `${address}: this node has no IPv${familyOf(address)} address to peer from`);
      return;
    }
    const found = this.#password(source.password);
    if ('why' in found) this.troubles.add(by, `${address}: ${found.why}`);
    const local_as = source.local_as_number ?? this.settings.as_number;
    const own_cluster = this.#own?.cluster_id;
    const client =
      own_cluster !== undefined && remote.as_number === local_as && remote.cluster_id !== own_cluster;
    const keepalive_s =
      source.keepalive_ms === undefined || source.keepalive_ms === 0
        ? undefined
        : Math.ceil(source.keepalive_ms / 1000);
    this.peers.set(address, {
      address,
      port: remote.port,
      as_number: remote.as_number,
      local_as,
      ...(source.source_address === 'UseNodeIP' && { local_address: own_address }),
      passive: remote.node !== undefined && address > own_address,
      ...('why' in found ? ({ pending: true } as const) : found),
      restart_s: Math.min(Math.ceil((source.max_restart_ms ?? restart_ms_default) / 1000), restart_s_max),
      keepalive_s: keepalive_s ?? keepalive_s_default,
      hold_s: keepalive_s === undefined ? hold_s_default : Math.min(3 * keepalive_s, hold_s_max),
      allowed_local_as: source.allowed_local_as ?? 0,
      ...(source.ttl_security_hops !== undefined && { ttl_security_hops: source.ttl_security_hops }),
      ...(client && { cluster_id: own_cluster }),
      next_hop_mode: source.next_hop_mode,
      filters: source.filters,
      ...(source.reachable_by !== undefined && { reachable_by: source.reachable_by }),
      by,
      ...(this.inputs.sr_policies && { sr_policies: true as const }),
      ...(this.inputs.has_networks && { networks: true as const }),
    });
  }

  #password(ref: SecretKeyRef | undefined): Password {
    if (ref === undefined) return {};
    this.secrets.add(ref.name);
    if (!this.inputs.secrets.has(ref.name)) return { why: `waits for the Secret ${ref.name}` };
    const values = this.inputs.secrets.get(ref.name);
    if (values === undefined)
      return { why: `there is no Secret ${ref.name}: create it, or grant its reading` };
    const password = values.get(ref.key);
    if (password === undefined || password.is_empty)
      return { why: `the Secret ${ref.name} has no key ${ref.key}: add it` };
    const bytes = Buffer.byteLength(password.reveal());
    if (bytes > password_bytes_max)
      return {
        why: `the password in ${ref.name} has ${bytes} bytes: TCP takes at most ${password_bytes_max}`,
      };
    return { password };
  }
}

/** That of a text which the reader of the kind has parsed already. */
function selectorOf(text: string): Selector {
  const parsed = parseSelector(text);
  return 'matches' in parsed ? parsed.matches : () => false;
}

function byName<T extends { readonly name: string }>(objects: ReadonlyMap<string, T>): readonly T[] {
  return [...objects.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function wantedPeers(inputs: PeersInputs, settings: BgpSettings, troubles: Troubles): WantedPeers {
  const planner = new Planner(inputs, settings, troubles);
  planner.run();
  if (inputs.sr_policies) planner.takeFromOneSession();
  const { peers, secrets } = planner;
  return { peers, secrets: [...secrets].sort() };
}
