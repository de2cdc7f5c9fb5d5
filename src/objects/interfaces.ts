/** Interfaces of VPP and what belongs to one. */
import { canonicalAddress, splitPrefix } from '../ip/spelling.js';
import type { Family } from '../ip/text.js';
import { isPodInterfaceTag, isPodLoopbackTag } from '../pod/names.js';
import { always, type Kinds, remove } from './kind.js';
import { isNodeTag, type Ownership } from './owner.js';

/** `main-eth0`, `host-eth0`, or a pod's tag: at most 63 characters, unique in a VPP. */
export type InterfaceTag = string;

/** How a snapshot names an interface that has no tag, or that VPP has no more: `#` and its sw_if_index. */
export const dangling_prefix = '#';

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

/** PCI address of a device: `0000:03:00.0`. */
export type PciAddress = string;

/** A virtio device on the PCI bus. */
export interface Virtio {
  readonly kind: 'virtio';
  readonly tag: InterfaceTag;
  readonly pci: PciAddress;
  readonly mac: string;
  /** Segmentation and checksums are the device's. */
  readonly gso: boolean;
}

export interface Vmxnet3 {
  readonly kind: 'vmxnet3';
  readonly tag: InterfaceTag;
  readonly pci: PciAddress;
  readonly rx_queues: number;
  readonly tx_queues: number;
  readonly rx_queue_size: number;
  readonly tx_queue_size: number;
  readonly gso: boolean;
}

export interface Rdma {
  readonly kind: 'rdma';
  readonly tag: InterfaceTag;
  readonly host_if_name: string;
  readonly mac: string;
  readonly rx_queues: number;
  readonly rx_queue_size: number;
  readonly tx_queue_size: number;
}

/** A device that a driver of VPP's own framework has. Its first port is an interface. */
export interface Dev {
  readonly kind: 'dev';
  readonly pci: PciAddress;
  readonly driver: string;
}

export interface DevPort {
  readonly kind: 'dev_port';
  readonly tag: InterfaceTag;
  readonly pci: PciAddress;
  readonly driver: string;
  readonly rx_queues: number;
  readonly tx_queues: number;
  readonly rx_queue_size: number;
  readonly tx_queue_size: number;
  /** Of packets that the device is to take, in bytes, where the driver has to be told: VPP's own is 1500. */
  readonly mtu?: number;
}

/** Stands for an interface where VPP wants one; what is sent out by it to its own MAC comes in by it. */
export interface Loopback {
  readonly kind: 'loopback';
  readonly tag: InterfaceTag;
  /** Absent: one of VPP's making. */
  readonly mac?: string;
}

/** Of the loopback by which packets come in that were sent here by SRv6. */
export const srv6_tag: InterfaceTag = 'srv6';

/** An interface that VPP's own start-up files made and tagged: used, never created or deleted. */
export interface ExistingInterface {
  readonly kind: 'existing_interface';
  readonly tag: InterfaceTag;
  /** That it is to have. Absent: that of its making. */
  readonly mac?: string;
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
  /** Of IPv6, where it is another one: what VPP's advertisements name, if it is set before IPv6 is enabled. */
  readonly mtu6?: number;
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
  // Halves of it: for what comes in, and for what leaves.
  | 'cnat_in'
  | 'cnat_out'
  | 'gso_feature'
  | 'dhcp_client_detect'
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

/** What an uplink is in VPP. */
export type UplinkDevice = AfPacket | AfXdp | Virtio | Vmxnet3 | Rdma | DevPort | ExistingInterface;

export type InterfaceObject =
  | Tap
  | UplinkDevice
  | Dev
  | Loopback
  | InterfaceTable
  | InterfaceAddress
  | LinkLocal
  | InterfaceMtu
  | InterfaceRxMode
  | RxPlacement
  | InterfaceFlag;

/** Bits that cnat keeps by sw_if_index: no dump shows them, and the next interface with that index inherits them. */
export const snat_flags: readonly InterfaceSwitch[] = [
  'snat_pod',
  'snat_host',
  'snat_include_ip4',
  'snat_include_ip6',
];
/** VPP says that a feature is on which it does not have. */
const recorded_flags: ReadonlySet<InterfaceSwitch> = new Set([
  ...snat_flags,
  'promisc',
  'dhcp_client_detect',
] as const);

const ofInterface = {
  by: 'interface',
  of: (o: { readonly interface: InterfaceTag }): InterfaceTag => o.interface,
} as const;
const onInterface = (o: { readonly interface: InterfaceTag }): readonly InterfaceTag[] => [o.interface];
const tagOf = (o: { readonly tag: InterfaceTag }): InterfaceTag => o.tag;
/** An interface that others have tagged is theirs. */
const byTag = {
  by: 'name',
  of: (o: { readonly tag: InterfaceTag }): Ownership => (isNodeTag(o.tag) ? 'node' : 'foreign'),
} as const;

/** The namespace and device name that VPP reports settle whether a tap is a pod's: its tag has to follow from them. */
function ownerOfTap({ tag, host_namespace, host_if_name }: Tap): Ownership {
  if (isPodInterfaceTag(tag, host_namespace, host_if_name)) return 'pods';
  return isNodeTag(tag) ? 'node' : 'foreign';
}

/** Without a tag, by its MAC alone, it was not completed: what it is nobody wants. */
function ownerOfLoopback(o: Loopback): Ownership {
  if (isOfPod(o)) return 'pods';
  return o.tag === srv6_tag ? 'connectivity' : byTag.of(o);
}

const isOfPod = ({ tag }: Loopback): boolean => isPodLoopbackTag(tag) || tag.startsWith(dangling_prefix);

/** What drivers of uplinks make: known by its tag, and made anew where it is another device. */
const made_for_uplink = {
  key: tagOf,
  is: tagOf,
  owner: byTag,
  add: 20,
  remove: remove.interface,
  change: 'remove_first',
} as const;

export const interface_kinds: Kinds<InterfaceObject> = {
  af_packet: { ...made_for_uplink, same: (wanted, there) => wanted.host_if_name === there.host_if_name },
  af_xdp: { ...made_for_uplink, same: always },
  virtio: { ...made_for_uplink, same: (wanted, there) => wanted.pci === there.pci },
  vmxnet3: { ...made_for_uplink, same: (wanted, there) => wanted.pci === there.pci },
  rdma: { ...made_for_uplink, same: always },
  // VPP shows none of them, and refuses to attach one twice.
  dev: {
    key: (o) => o.pci,
    owner: { by: 'kind', owner: 'node' },
    same: (wanted, there) => wanted.driver === there.driver,
    add: 19,
    remove: remove.interface + 1,
    change: 'remove_first',
    recorded: always,
  },
  dev_port: { ...made_for_uplink, same: (wanted, there) => wanted.driver === there.driver },
  // The node's comes before the policy of source NAT, which needs one; a pod's is bound to the pod's table, and goes before that.
  loopback: {
    key: tagOf,
    is: tagOf,
    owner: { by: 'name', of: ownerOfLoopback },
    same: always,
    add: (o) => (isPodLoopbackTag(o.tag) ? 22 : 1),
    remove: (o) => (isOfPod(o) ? remove.interface : remove.global + 2),
    change: 'remove_first',
    announced: true,
  },
  existing_interface: {
    key: tagOf,
    is: tagOf,
    owner: byTag,
    same: always,
    add: 20,
    remove: remove.interface,
    change: 'overwrite',
  },
  // Not by its namespace: the same one may be written in another way.
  tap: {
    key: tagOf,
    is: tagOf,
    owner: { by: 'name', of: ownerOfTap },
    same: (wanted, there) =>
      wanted.host_if_name === there.host_if_name &&
      wanted.type === there.type &&
      wanted.gso === there.gso &&
      wanted.rx_ring_size === there.rx_ring_size &&
      wanted.tx_ring_size === there.tx_ring_size,
    add: 21,
    remove: remove.interface,
    change: 'remove_first',
  },
  // Before any address: VPP refuses to bind an interface that has one.
  interface_table: {
    key: (o) => `${o.interface}/${o.family}`,
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.table_id === there.table_id,
    add: 30,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
  },
  interface_mtu: {
    key: (o) => o.interface,
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.mtu === there.mtu && wanted.mtu6 === there.mtu6,
    add: 31,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: always,
  },
  // `default` leaves the choice to the driver: whatever VPP shows then is right.
  interface_rx_mode: {
    key: (o) => o.interface,
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.mode === there.mode || wanted.mode === 'default',
    add: 32,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: always,
  },
  rx_placement: {
    key: (o) => `${o.interface}/${o.queue_id}`,
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.worker_id === there.worker_id,
    add: 32,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: always,
  },
  // Features and RA suppression before the interface is up: no packet passes without them. `admin_up` comes last of an interface's
  // switches, behind the features and before its addresses. VPP never advertises on most interfaces, asked or not.
  interface_flag: {
    key: (o) => `${o.interface}/${o.flag}`,
    on: onInterface,
    owner: ofInterface,
    same: always,
    add: (o) => (o.flag === 'admin_up' ? 50 : 40),
    remove: (o) => (o.flag === 'admin_up' ? remove.down : remove.feature),
    change: 'overwrite',
    setting: (o) => o.flag === 'ra_suppressed',
    recorded: (o) => recorded_flags.has(o.flag),
  },
  // After the interface is up: VPP installs no glean route for an address that an interface got while it was down.
  interface_address: {
    key: (o) => `${o.interface}/${o.prefix}`,
    canonical: (o) => {
      const prefix = canonicalInterfaceAddress(o.prefix);
      return prefix === o.prefix ? o : { ...o, prefix };
    },
    on: onInterface,
    owner: ofInterface,
    same: always,
    add: 60,
    remove: remove.address,
    change: 'overwrite',
    dies_with_interface: true,
  },
  link_local: {
    key: (o) => o.interface,
    canonical: (o) => {
      const address = canonicalAddress(o.address) ?? o.address;
      return address === o.address ? o : { ...o, address };
    },
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) => wanted.address === there.address,
    add: 61,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: always,
  },
};

/** Host bits stay: they are the address. */
function canonicalInterfaceAddress(text: string): string {
  const parts = splitPrefix(text);
  return parts === undefined ? text : `${parts.address}/${text.slice(text.indexOf('/') + 1)}`;
}
