/** The Linux side of taps: kept as a record, or made for real. */
import { refuse, retval } from './outcome.js';

export interface TapDevice {
  /** Path, name or `pid:<n>` of the network namespace; undefined: VPP's own. */
  readonly namespace: string | undefined;
  /** Undefined: the kernel picks one. */
  readonly name: string | undefined;
  readonly tun: boolean;
  readonly queues: number;
  /** The device outlives VPP, and is attached to by the next create. */
  readonly persistent: boolean;
  /** Undefined: the kernel's default. */
  readonly mtu: number | undefined;
  readonly mac: string | undefined;
}

export interface OpenTap {
  /** The name that the kernel gave. */
  readonly name: string;
  /** With `persistent` the device stays. */
  close(persistent: boolean): void;
}

export interface Devices {
  /** Throws a Refusal with VPP's retval. */
  openTap(device: TapDevice): OpenTap;
  /** The devices of VPP's own namespace that af_packet can bind. */
  hasLink(name: string): boolean;
  /** A PCI device that the kernel hands to programs, and what of VPP drives it. Absent, or undefined: VPP can open none of that address. */
  pciDevice?(address: string): PciOfVpp | undefined;
}

export interface PciOfVpp {
  readonly driver: 'virtio' | 'vmxnet3' | 'iavf' | 'ige';
  readonly mac: string;
}

/** An interface name has 15 characters; the kernel cuts what is longer. */
const name_max = 15;
const mtu_range = { min: 68, max: 65_535 };

export function deviceName(name: string): string {
  return name.slice(0, name_max);
}

export function checkMtu(mtu: number | undefined): void {
  if (mtu !== undefined && (mtu < mtu_range.min || mtu > mtu_range.max)) refuse(retval.NETLINK_ERROR);
}

interface Recorded {
  readonly device: TapDevice;
  open: boolean;
}

/**
 * Devices on paper. One object given to two lives of the stand-in keeps persistent devices between them, as the kernel does.
 * Every namespace and every link exists.
 */
export class RecordedDevices implements Devices {
  readonly #devices = new Map<string, Recorded>();
  #named = 0;

  openTap(device: TapDevice): OpenTap {
    const name = deviceName(device.name ?? `${device.tun ? 'tun' : 'tap'}${this.#named++}`);
    const key = `${device.namespace ?? ''} ${name}`;
    const known = this.#devices.get(key);
    if (known?.open || name === 'lo') refuse(retval.SYSCALL_ERROR_3);
    if (known && (known.device.tun !== device.tun || known.device.queues > 1 !== device.queues > 1)) {
      refuse(retval.SYSCALL_ERROR_3);
    }
    checkMtu(device.mtu);
    const recorded: Recorded = { device, open: true };
    this.#devices.set(key, recorded);
    return {
      name,
      close: (persistent) => {
        recorded.open = false;
        if (!persistent && this.#devices.get(key) === recorded) this.#devices.delete(key);
      },
    };
  }

  hasLink(): boolean {
    return true;
  }

  /** The devices in a namespace, for tests. */
  in(namespace: string): TapDevice[] {
    return [...this.#devices]
      .filter(([key]) => key.startsWith(`${namespace} `))
      .map(([, { device }]) => device);
  }
}
