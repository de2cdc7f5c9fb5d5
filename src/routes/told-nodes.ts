/**
 * What the API and Felix tell of nodes, pools and Felix' configuration, to whom it concerns: the plan, WireGuard's peers, IPAM's routes, own SIDs.
 * Answers what tunnels are made with.
 */
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';
import type { CalicoNode } from '../calico/kinds/node.js';
import type { Connectivity } from '../desired/connectivity.js';
import { FelixKeys } from '../desired/felix-keys.js';
import type { IpamRoutes } from '../desired/ipam-routes.js';
import { addressOf, type NodeAddresses } from '../desired/node-addresses.js';
import { type TunnelSettings, tunnel_settings_default } from '../desired/remote-route.js';
import type { AnyChange } from '../messages/cluster.js';
import type { FelixKeysTold } from '../messages/connectivity.js';
import { type Encryption, portOf } from './encryption.js';
import type { IkeTunnels } from './ike-tunnels.js';
import type { OwnSidsTold } from './own-sids.js';

export interface ToldNodesParts {
  readonly node_name: string;
  readonly plan: Connectivity;
  readonly nodes: NodeAddresses;
  /** Absent: routes come from BGP. */
  readonly ipam: IpamRoutes | undefined;
  readonly sids: OwnSidsTold;
  readonly encryption: Encryption;
  readonly ike: IkeTunnels;
  /** Tunnels may be made with something else by now. */
  readonly look: () => void;
}

export class ToldNodes {
  readonly #parts: ToldNodesParts;
  readonly #felix = new Map<string, FelixConfiguration>();
  readonly #felix_keys = new FelixKeys();
  readonly #known = new Map<string, CalicoNode>();

  constructor(parts: ToldNodesParts) {
    this.#parts = parts;
  }

  /** All that there are. */
  felix(): Iterable<FelixConfiguration> {
    return this.#felix.values();
  }

  /** `is_first`: of its kind all is told by now that there is. */
  take(change: AnyChange, is_first: boolean): void {
    const { plan, nodes, ipam, sids, look } = this.#parts;
    switch (change.kind) {
      case 'IPPool':
        for (const [name, pool] of change.changed) {
          plan.setPool(name, pool);
          if (sids.setPool(name, pool)) look();
        }
        return;
      case 'Node':
        for (const [name, node] of change.changed) {
          for (const address of nodes.set(name, node)) plan.setNode(address, nodes.has(address));
          this.#setNode(name, node);
          plan.setNodeAddresses(name, node && addressesOf(node));
          ipam?.setNode(name, node);
        }
        if (is_first) look();
        return;
      case 'BlockAffinity':
        for (const [name, affinity] of change.changed) ipam?.setAffinity(name, affinity);
        return;
      case 'IPAMBlock':
        for (const [name, block] of change.changed) ipam?.setBlock(name, block);
        return;
      case 'FelixConfiguration':
        for (const [name, felix] of change.changed) {
          if (felix === undefined) this.#felix.delete(name);
          else this.#felix.set(name, felix);
        }
        // Where the others listen may be told by what is theirs alone.
        for (const [name, node] of this.#known) this.#setNode(name, node);
        return look();
    }
  }

  takeKeys(told: FelixKeysTold): void {
    for (const name of this.#felix_keys.take(told)) this.#setNode(name, this.#known.get(name));
  }

  /** What tunnels are made with, less what depends on the node's own addresses. Peers follow where it is other than before whether anything goes to them. */
  tunnelSettings(): Omit<TunnelSettings, 'gso' | 'policed' | 'encryption_required' | 'srv6'> {
    const { node_name, encryption, ike } = this.#parts;
    const felix = this.#felixOf(node_name);
    const by_default = tunnel_settings_default;
    const was_used = encryption.is_used;
    const wireguard = encryption.settings(felix);
    const { settings: ipsec } = ike;
    this.#setPeers(encryption.nodes.setOwnKey(wireguard?.keys.public_key));
    if (encryption.is_used !== was_used) this.#setPeers(this.#known.keys());
    return {
      vxlan_vni: felix.vxlan_vni ?? by_default.vxlan_vni,
      vxlan_port: felix.vxlan_port ?? by_default.vxlan_port,
      ipip_mtu: felix.ipip_mtu ?? by_default.ipip_mtu,
      vxlan_mtu: felix.vxlan_mtu ?? by_default.vxlan_mtu,
      vxlan_mtu6: felix.vxlan_mtu6 ?? by_default.vxlan_mtu6,
      ...(wireguard && { wireguard }),
      ...(ipsec && { ipsec }),
    };
  }

  #felixOf(node_name: string): Partial<FelixConfiguration> {
    return { ...this.#felix.get('default'), ...this.#felix.get(`node.${node_name}`) };
  }

  #setPeers(names: Iterable<string>): void {
    const { is_used, nodes } = this.#parts.encryption;
    // A peer is new to VPP when packets can go to it: before that it would not answer.
    for (const name of names) this.#parts.plan.setPeer(name, is_used ? nodes.peer(name) : undefined);
  }

  #setNode(name: string, node: CalicoNode | undefined): void {
    const { node_name, encryption, look } = this.#parts;
    this.#felix_keys.nodeChanged(this.#known.get(name), node);
    if (node === undefined) this.#known.delete(name);
    else this.#known.set(name, node);
    if (name === node_name && encryption.setOwnNode(node)) look();
    const told = node && this.#felix_keys.completed(node);
    this.#setPeers(encryption.nodes.set(name, told, portOf(this.#felixOf(name))));
  }
}

function addressesOf(node: CalicoNode) {
  const ip4 = addressOf(node, 4);
  const ip6 = addressOf(node, 6);
  return { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) };
}
