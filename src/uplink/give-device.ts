/** How a device goes to VPP. The undo of it is on the disk before. */
import type { NetworkNamespace } from '../linux/network.js';
import type { CapturedUplink } from './captured.js';
import type { DeviceChange } from './driver.js';
import { driverFor } from './drivers.js';
import { UplinkError } from './uplink-error.js';

/** Of the namespace that VPP lives in; `default` is what a link begins with that comes there. */
const silent_sysctls: readonly (readonly [path: string, value: string])[] = [
  ...['all', 'default'].flatMap((scope) => [
    [`net/ipv6/conf/${scope}/disable_ipv6`, '1'] as const,
    // Answers nobody.
    [`net/ipv4/conf/${scope}/arp_ignore`, '8'] as const,
  ]),
  ['net/ipv4/ip_forward', '0'],
];

const IFA_F_MCAUTOJOIN = 0x400;

/** VPP's network namespace. */
export interface VppSide {
  readonly path: string;
  within<T>(run: (inside: NetworkNamespace) => T): T;
}

/**
 * The kernel of VPP's namespace sees all that the uplink receives. Left to itself it takes the host's own IPv6 addresses from the same
 * router, answers ARP, forwards what it is sent and resets the host's connections. Throws UplinkError.
 */
export function silence(inside: NetworkNamespace): void {
  for (const [path, value] of silent_sysctls) {
    const present = inside.readSysctl(path)?.trim();
    if (present === undefined || present === value) continue;
    try {
      inside.writeSysctl(path, value);
    } catch (error) {
      throw new UplinkError(
        `${path} cannot be set in VPP's network namespace (${(error as Error).message}), and the kernel would answer there in the host's name; make /proc/sys writable`,
      );
    }
  }
}

/** `changes`: those of the driver. Throws what Linux answers, or UplinkError. */
export function giveDevice(
  namespace: NetworkNamespace,
  uplink: CapturedUplink,
  index: number,
  changes: readonly DeviceChange[],
  vpp: VppSide,
): void {
  for (const change of changes) makeChange(namespace, uplink, change);
  if (!driverFor(uplink.spec).moves) return;
  leaveGroups(namespace, uplink);
  const { name } = uplink.link;
  namespace.apply({ do: 'move_link', link: index, netns: vpp.path });
  vpp.within((inside) => {
    const moved = inside.link(name);
    if (moved === undefined)
      throw new UplinkError(`uplink ${name} did not arrive in VPP's network namespace`);
    inside.apply({ do: 'set_link', link: moved.index, up: true, promisc: true });
  });
}

/** The kernel leaves a group that an address has joined with the address, and not with the link. */
function leaveGroups(namespace: NetworkNamespace, { addresses }: CapturedUplink): void {
  for (const address of addresses)
    if (address.flags & IFA_F_MCAUTOJOIN) namespace.apply({ do: 'delete_address', address });
}

function makeChange(namespace: NetworkNamespace, { link }: CapturedUplink, change: DeviceChange): void {
  switch (change.do) {
    case 'promisc':
      return namespace.apply({ do: 'set_link', link: link.index, promisc: true });
    case 'mtu':
      return namespace.apply({ do: 'set_link', link: link.index, mtu: change.mtu });
    case 'channels':
      return namespace.setChannels(link.name, { combined: change.combined });
    case 'xdp':
      return;
  }
}
