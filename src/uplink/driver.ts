/**
 * A way to give VPP a network device. One file per driver; what is specific to one is data that the others need not know.
 */
import type { Driver as DriverName, UplinkSpec } from '../config.js';
import type { Channels, Link } from '../linux/network.js';
import type { RxMode } from '../objects/interfaces.js';
import type { ObjectOf } from '../objects/object.js';

/** The device as it was found, and what was asked for it. */
export interface DeviceFacts {
  readonly spec: UplinkSpec;
  readonly link: Link;
  readonly channels?: Channels;
  readonly gso: boolean;
  /** See `NetworkNamespace.offloads`. Absent in records of earlier releases: it does. */
  readonly offloads?: boolean;
}

/** A change of the device before VPP gets it. Its undo is recorded before it is made. */
export type DeviceChange =
  | { readonly do: 'promisc' }
  | { readonly do: 'mtu'; readonly mtu: number }
  | { readonly do: 'channels'; readonly combined: number }
  /** VPP attaches an XDP program, and leaves it behind when it dies. */
  | { readonly do: 'xdp' };

export interface UplinkDriver {
  readonly name: DriverName;
  readonly default_rx_mode: RxMode;
  /** The Linux device moves into VPP's network namespace, and comes back from there. */
  readonly moves: boolean;
  /** It takes segments larger than a packet and has them cut by the device. */
  readonly large_segments: boolean;
  /** What the uplink and the host tap get as MTU. */
  mtu(facts: DeviceFacts): number;
  prepare(facts: DeviceFacts): readonly DeviceChange[];
  device(facts: DeviceFacts, tag: string): ObjectOf<'af_packet' | 'af_xdp' | 'existing_interface'>;
}

/** What was asked for, or what the device has. */
export function askedMtu({ spec, link }: DeviceFacts): number {
  return spec.mtu ?? link.mtu;
}
