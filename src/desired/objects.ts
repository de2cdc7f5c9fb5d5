/**
 * The VPP objects that this product programs, as data: what `desired` functions return, what a snapshot of VPP is turned
 * into, and what `reconcile` compares. An interface is named by its tag, never by its sw_if_index: tags survive a restart
 * of VPP and of this process, indexes do not. Tables are named by their id.
 */
import type { Family } from '../ip/text.js';

/** `main-eth0`, `host-eth0`, or a pod's tag: at most 63 characters, unique in a VPP. */
export type InterfaceTag = string;

/** How a snapshot names an interface that has no tag, or that VPP has no more: `#` and its sw_if_index. */
export const dangling_prefix = '#';

/** A forwarding table of one family. `multicast` false leaves out the multicast table that VPP makes beside it. */
export interface Table {
  readonly kind: 'table';
  readonly family: Family;
  readonly table_id: number;
  readonly name: string;
  readonly multicast: boolean;
}

/** A tun or tap device of VPP's tap driver. */
export interface Tap {
  readonly kind: 'tap';
  readonly tag: InterfaceTag;
  /** Path of the network namespace that the Linux side lives in. */
  readonly host_namespace: string;
  readonly host_if_name: string;
  readonly host_mtu: number;
  readonly host_mac?: string;
  /** Absent: VPP picks one. */
  readonly mac?: string;
  readonly rx_queues: number;
  readonly tx_queues: number;
  readonly rx_ring_size: number;
  readonly tx_ring_size: number;
  /** A tun carries IP without Ethernet. */
  readonly type: 'tun' | 'tap';
  /** Segmentation and receive coalescing between VPP and Linux. */
  readonly gso: boolean;
  /** The Linux device outlives VPP and is attached to again, with its addresses and routes. */
  readonly persistent: boolean;
}

export interface AfPacket {
  readonly kind: 'af_packet';
  readonly tag: InterfaceTag;
  readonly host_if_name: string;
  readonly mac: string;
  readonly rx_queues: number;
  readonly tx_queues: number;
  readonly rx_frames_per_block: number;
  readonly tx_frames_per_block: number;
  readonly gso: boolean;
  readonly qdisc_bypass: boolean;
  /** TPACKET_V3 instead of V2. */
  readonly version_3: boolean;
}

export interface AfXdp {
  readonly kind: 'af_xdp';
  readonly tag: InterfaceTag;
  readonly host_if_name: string;
  readonly mac: string;
  readonly rx_queues: number;
  readonly rx_queue_size: number;
  readonly tx_queue_size: number;
}

/** An interface that VPP's own start-up files made and tagged: used, never created or deleted. */
export interface ExistingInterface {
  readonly kind: 'existing_interface';
  readonly tag: InterfaceTag;
}

export interface InterfaceTable {
  readonly kind: 'interface_table';
  readonly interface: InterfaceTag;
  readonly family: Family;
  readonly table_id: number;
}

export interface InterfaceAddress {
  readonly kind: 'interface_address';
  readonly interface: InterfaceTag;
  /** Address with its mask, e.g. `10.0.0.2/24`. */
  readonly prefix: string;
}

/** Replaces the link-local address that VPP derived from the MAC. */
export interface LinkLocal {
  readonly kind: 'link_local';
  readonly interface: InterfaceTag;
  readonly address: string;
}

/** The L3 MTU that VPP fragments to. */
export interface InterfaceMtu {
  readonly kind: 'interface_mtu';
  readonly interface: InterfaceTag;
  readonly mtu: number;
}

export type RxMode = 'polling' | 'interrupt' | 'adaptive' | 'default';

export interface InterfaceRxMode {
  readonly kind: 'interface_rx_mode';
  readonly interface: InterfaceTag;
  readonly mode: RxMode;
}

export interface RxPlacement {
  readonly kind: 'rx_placement';
  readonly interface: InterfaceTag;
  readonly queue_id: number;
  /** Counted from 0; without workers VPP takes 0 for the main thread. */
  readonly worker_id: number;
}

/** Interface switches that are either there or not, all of one shape. */
export type InterfaceSwitch =
  | 'admin_up'
  | 'promisc'
  | 'ip6_enabled'
  | 'ra_suppressed'
  | 'cnat_feature'
  | 'gso_feature'
  | 'proxy_arp'
  | 'snat_pod'
  | 'snat_host'
  | 'snat_include_ip4'
  | 'snat_include_ip6';

export interface InterfaceFlag {
  readonly kind: 'interface_flag';
  readonly interface: InterfaceTag;
  readonly flag: InterfaceSwitch;
}

/** What npol says of a flow, in either direction, while no policy of Felix is configured on the interface. */
export interface DefaultVerdict {
  readonly kind: 'default_verdict';
  readonly interface: InterfaceTag;
  readonly verdict: 'allow' | 'deny';
}

/** Drops what comes in with a source that `table_id` has no route to (loose), or no route through this interface (strict). */
export interface Urpf {
  readonly kind: 'urpf';
  readonly interface: InterfaceTag;
  readonly family: Family;
  readonly mode: 'loose' | 'strict';
  readonly table_id: number;
}

/** What comes in on `interface` and leaves by `towards` keeps its TTL. */
export interface TtlFixup {
  readonly kind: 'ttl_fixup';
  readonly interface: InterfaceTag;
  readonly towards: InterfaceTag;
}

/** VPP answers ARP requests for this range in this table. */
export interface ProxyArpRange {
  readonly kind: 'proxy_arp_range';
  readonly table_id: number;
  readonly low: string;
  readonly high: string;
}

/** One way out of a route. `lookup` continues in another table, `drop` discards. */
export type Path =
  | { readonly via: 'interface'; readonly interface: InterfaceTag; readonly next_hop: string }
  | { readonly via: 'lookup'; readonly table_id: number }
  | { readonly via: 'drop' };

/** Always sent whole: adding a prefix replaces its paths, removing it removes all of them. */
export interface Route {
  readonly kind: 'route';
  readonly table_id: number;
  readonly prefix: string;
  readonly paths: readonly Path[];
}

export interface MulticastPath {
  /** Absent: continue in the multicast table `table_id`. */
  readonly interface?: InterfaceTag;
  readonly table_id?: number;
  readonly accept: boolean;
  readonly forward: boolean;
}

export interface MulticastRoute {
  readonly kind: 'mroute';
  readonly table_id: number;
  /** Group with its length, e.g. `ff02::1/128`. */
  readonly group: string;
  readonly accept_all_interfaces: boolean;
  readonly paths: readonly MulticastPath[];
}

/** A static neighbour. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly interface: InterfaceTag;
  readonly address: string;
  readonly mac: string;
}

export interface NeighbourLimits {
  readonly kind: 'neighbour_limits';
  readonly family: Family;
  readonly max_number: number;
  /** Seconds; 0 turns ageing off. */
  readonly max_age_s: number;
}

/** Where packets for the node itself go. */
export interface PuntRedirect {
  readonly kind: 'punt_redirect';
  readonly family: Family;
  readonly table_id: number;
}

/** Packets of this protocol that no socket of VPP takes are punted instead of answered. */
export interface PuntL4 {
  readonly kind: 'punt_l4';
  readonly family: Family;
  readonly protocol: 'tcp' | 'udp';
}

/**
 * The addresses that source NAT uses: the node's. Beside its own meaning it is the first cnat call of a VPP's life, which
 * has to come before any interface is bound to a table: a table bound earlier gets no sessions, hence neither services
 * nor policies.
 */
export interface SnatAddresses {
  readonly kind: 'snat_addresses';
  readonly ip4?: string;
  readonly ip6?: string;
}

/**
 * `if_pfx`: what comes from interfaces with a `snat_include` flag is source NATed, unless it goes to an excluded prefix. (VPP's
 * default translates everything; its policy for Kubernetes also what passes from uplink to uplink, as a packet to a pod does
 * in the moment before the pod is programmed, and its flow then stays so.)
 */
export interface SnatPolicy {
  readonly kind: 'snat_policy';
  readonly policy: 'if_pfx';
}

/** Never source NATed when it goes there. */
export interface SnatExclude {
  readonly kind: 'snat_exclude';
  readonly prefix: string;
}

/** A load-balanced address and port; here for host ports of pods. */
export interface Translation {
  readonly kind: 'translation';
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly backends: readonly { readonly address: string; readonly port: number }[];
}

/** What is sent to the host instead of where the route says. */
export interface RedirectMatch {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly address: string;
}

/** A classifier table for redirect rules of one family. Never removed: pod interfaces may still look it up. */
export interface RedirectTable {
  readonly kind: 'redirect_table';
  readonly family: Family;
}

/** An entry of the redirect table: what matches goes to the host, through its tap. */
export interface RedirectRule extends RedirectMatch {
  readonly kind: 'redirect_rule';
  readonly interface: InterfaceTag;
  readonly next_hop: string;
}

/** Makes an interface's input pass the redirect table of that family. */
export interface RedirectAcl {
  readonly kind: 'redirect_acl';
  readonly interface: InterfaceTag;
  readonly family: Family;
}

export type VppObject =
  | Table
  | Tap
  | AfPacket
  | AfXdp
  | ExistingInterface
  | InterfaceTable
  | InterfaceAddress
  | LinkLocal
  | InterfaceMtu
  | InterfaceRxMode
  | RxPlacement
  | InterfaceFlag
  | DefaultVerdict
  | Urpf
  | TtlFixup
  | ProxyArpRange
  | Route
  | MulticastRoute
  | Neighbour
  | NeighbourLimits
  | PuntRedirect
  | PuntL4
  | SnatAddresses
  | SnatPolicy
  | SnatExclude
  | Translation
  | RedirectTable
  | RedirectRule
  | RedirectAcl;

export type ObjectKind = VppObject['kind'];
export type ObjectOf<K extends ObjectKind> = Extract<VppObject, { kind: K }>;
