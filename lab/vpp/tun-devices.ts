/** Real devices of the kernel, made as VPP makes them. Needs root and /dev/net/tun. */
import { closeSync, existsSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { LinuxNamespace } from '../../src/host/netlink/namespace.js';
import { enterNamespace, openNamespace } from '../../src/host/netns.js';
import { checkMtu, type Devices, deviceName, type OpenTap, type TapDevice } from './devices.js';
import { refuse, retval } from './outcome.js';

// Linux: include/uapi/linux/if_tun.h.
const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const IFF_TUN = 1;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_MULTI_QUEUE = 0x0100;

const own_namespace = '/proc/thread-self/ns/net';

type Ioctl = (fd: number, request: number, argument: Uint8Array | bigint | null) => number;
const ioctl = koffi.load(null).func('ioctl', 'int', ['int', 'ulong', 'void *']) as unknown as Ioctl;

export class TunDevices implements Devices {
  openTap(device: TapDevice): OpenTap {
    const path = namespacePath(device.namespace);
    const namespace = openOr(path, retval.SYSCALL_ERROR_2);
    try {
      const { fds, name } = enterOr(namespace, () => openQueues(device));
      try {
        checkMtu(device.mtu);
        configure(path, name, device);
      } catch (error) {
        for (const fd of fds) closeSync(fd);
        throw error;
      }
      return { name, close: (persistent) => closeQueues(fds, persistent) };
    } finally {
      closeSync(namespace);
    }
  }

  hasLink(name: string): boolean {
    return existsSync(`/sys/class/net/${name}`) || this.#linkInNamespace(name);
  }

  /** /sys shows the links of the namespace that it was mounted in. */
  #linkInNamespace(name: string): boolean {
    const own = new LinuxNamespace(undefined);
    try {
      return own.link(name) !== undefined;
    } finally {
      own.close();
    }
  }
}

/** As VPP reads it: `pid:<n>`, a path, or a name below /var/run/netns. */
function namespacePath(namespace: string | undefined): string {
  if (namespace === undefined) return own_namespace;
  if (namespace.startsWith('pid:')) return `/proc/${namespace.slice(4)}/ns/net`;
  return namespace.startsWith('/') ? namespace : `/var/run/netns/${namespace}`;
}

function openOr(path: string, error: number): number {
  try {
    return openNamespace(path);
  } catch {
    return refuse(error);
  }
}

function enterOr<T>(fd: number, run: () => T): T {
  try {
    return enterNamespace(fd, run);
  } catch {
    return refuse(retval.SYSCALL_ERROR_3);
  }
}

function openQueues(device: TapDevice): { readonly fds: number[]; readonly name: string } {
  const flags =
    (device.tun ? IFF_TUN : IFF_TAP) | IFF_NO_PI | IFF_VNET_HDR | (device.queues > 1 ? IFF_MULTI_QUEUE : 0);
  const fds: number[] = [];
  try {
    let name = deviceName(device.name ?? '');
    for (let queue = 0; queue < device.queues; queue += 1) {
      const fd = openSync('/dev/net/tun', 'r+');
      fds.push(fd);
      const ifreq = Buffer.alloc(40);
      ifreq.write(name, 0, 15);
      ifreq.writeUInt16LE(flags, 16);
      if (ioctl(fd, TUNSETIFF, ifreq) < 0) throw new Error(`TUNSETIFF ${name}: errno ${koffi.errno()}`);
      name = ifreq.toString('latin1', 0, ifreq.indexOf(0));
    }
    setPersistent(fds[0]!, device.persistent);
    return { fds, name };
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
}

function setPersistent(fd: number, on: boolean): void {
  if (ioctl(fd, TUNSETPERSIST, on ? 1n : null) < 0) throw new Error(`TUNSETPERSIST: errno ${koffi.errno()}`);
}

/** MAC, MTU and up, in VPP's order. */
function configure(path: string, name: string, { mac, mtu }: TapDevice): void {
  const namespace = new LinuxNamespace(path);
  try {
    const link = namespace.link(name)!.index;
    if (mac !== undefined) namespace.apply({ do: 'set_link', link, mac });
    namespace.apply({ do: 'set_link', link, up: true });
    if (mtu !== undefined) namespace.apply({ do: 'set_link', link, mtu });
  } catch {
    refuse(retval.NETLINK_ERROR);
  } finally {
    namespace.close();
  }
}

function closeQueues(fds: readonly number[], persistent: boolean): void {
  // Fails, as in VPP without consequence, where the device has been removed.
  if (!persistent) ioctl(fds[0]!, TUNSETPERSIST, null);
  for (const fd of fds) closeSync(fd);
}
