/**
 * A way to give VPP a network device. One file per driver; what is specific to one is data that the others need not know.
 */
import type { Driver as DriverName, UplinkSpec } from '../config.js';
import type { MachineFacts, PciFacts } from '../host/devices/pci-facts.js';
import type { LinkIdentity } from '../host/undo/undo-step.js';
import type { Channels, Link } from '../linux/network.js';
import type { RxMode, UplinkDevice } from '../objects/interfaces.js';
import type { Obstacle } from './obstacles.js';

/** The device as it was found, and what was asked for it. */
export interface DeviceFacts {
  readonly spec: UplinkSpec;
  readonly link: Link;
  readonly channels?: Channels;
  readonly gso: boolean;
  /** See `NetworkNamespace.offloads`. Absent in records of earlier releases: it does. */
  readonly offloads?: boolean;
  /** Who joins the packets that it receives, before VPP has them. Absent in records of earlier releases. */
  readonly joins?: readonly Joins[];
  /** Absent: it is on no PCI bus. */
  readonly pci?: PciFacts;
}

/** A link, and by which features it joins packets that it receives to larger ones (`ethtool -k`). */
export interface Joins {
  readonly link: LinkIdentity;
  readonly by: readonly string[];
}

/** A change of the device before VPP gets it. Its undo is recorded before it is made. */
export type DeviceChange =
  | { readonly do: 'promisc' }
  | { readonly do: 'mtu'; readonly mtu: number }
  | { readonly do: 'channels'; readonly combined: number }
  /** Packets come as they are. */
  | { readonly do: 'join_nothing'; readonly of: readonly Joins[] }
  /** VPP attaches an XDP program, and leaves it behind when it dies. */
  | { readonly do: 'xdp' }
  /** vfio drives what no IOMMU isolates. */
  | { readonly do: 'no_iommu' }
  /** The first virtual function of a device, which has this MAC. */
  | { readonly do: 'make_vf'; readonly of: string; readonly vf: string; readonly mac: string }
  /** The PCI device gets this kernel driver: what Linux had of it goes. `from`: the one that it has. Absent where `make_vf` made it. */
  | { readonly do: 'bind'; readonly pci: string; readonly driver: string; readonly from?: string };

export interface UplinkDriver {
  readonly name: DriverName;
  readonly default_rx_mode: RxMode;
  /** The Linux device moves into VPP's network namespace, and comes back from there. */
  moves(facts: Pick<DeviceFacts, 'pci' | 'spec'>): boolean;
  /** VPP has to have the interface before the device moves: it looks it up by its name in the host. */
  readonly attaches_before_move?: true;
  /** A VPP that has failed to attach such a device is of no use for another attempt: it dies of the second (seen). */
  readonly spoils_vpp?: true;
  /** VPP finds the device when it starts, and never later. */
  readonly needs_new_vpp?: true;
  /** It takes segments larger than a packet and has them cut by the device. */
  readonly large_segments: boolean;
  /** What the uplink and the host tap get as MTU. */
  mtu(facts: DeviceFacts): number;
  prepare(facts: DeviceFacts): readonly DeviceChange[];
  device(facts: DeviceFacts, tag: string): UplinkDevice;
  /** What keeps this driver from this device on this machine. Absent: nothing that could be told before. */
  lacks?(facts: DeviceFacts, machine: MachineFacts): readonly Obstacle[];
}

/** What was asked for, or what the device has. */
export function askedMtu({ spec, link }: DeviceFacts): number {
  return spec.mtu ?? link.mtu;
}
