/** How a device goes to VPP. The undo of it is on the disk before. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  bindDriver,
  deviceFiles,
  type PciTools,
  setUnsafeNoIommu,
  setVirtualFunctions,
  virtualFunctions,
} from '../host/devices/pci-driver.js';
import { pciFacts } from '../host/devices/pci-facts.js';
import { HOST_ROOTS } from '../host/devices/sysfs.js';
import type { NetworkChange, NetworkNamespace } from '../linux/network.js';
import type { CapturedUplink } from './captured.js';
import type { DeviceChange } from './driver.js';
import { sharedGroup } from './pci-needs.js';
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

/** What Linux itself changes of the link, and at once. Throws what it answers. */
export function prepareLink(
  namespace: NetworkNamespace,
  uplink: CapturedUplink,
  changes: readonly DeviceChange[],
): void {
  for (const change of changes) makeChange(namespace, uplink, change);
  leaveGroups(namespace, uplink);
}

/** To VPP's namespace. Throws what Linux answers, or UplinkError. */
export function moveDevice(
  namespace: NetworkNamespace,
  { link: { name } }: CapturedUplink,
  vpp: VppSide,
): void {
  const link = namespace.link(name);
  if (link === undefined) throw new UplinkError(`uplink ${name} vanished before it was taken over`);
  namespace.apply({ do: 'move_link', link: link.index, netns: vpp.path });
  vpp.within((inside) => {
    const moved = inside.link(name);
    if (moved === undefined)
      throw new UplinkError(`uplink ${name} did not arrive in VPP's network namespace`);
    inside.apply({ do: 'set_link', link: moved.index, up: true, promisc: true });
  });
}

/**
 * What changes the device and not the link, and takes the kernel its time. `onLink`: tells Linux of the link. Throws BindError, UplinkError, or what
 * Linux answers.
 */
export async function changeDevice(
  change: DeviceChange,
  tools: PciTools,
  onLink: (change: (link: number) => NetworkChange) => void,
): Promise<void> {
  switch (change.do) {
    case 'no_iommu':
      await setUnsafeNoIommu(true, tools);
      return;
    case 'bind':
      if (change.from === undefined && change.driver === 'vfio-pci') mustBeAlone(change.pci, tools);
      await bindDriver(change, tools);
      return mustHaveFiles(change.pci, change.driver, tools);
    case 'make_vf': {
      await setVirtualFunctions({ pci: change.of, count: 1, autoprobe: false }, tools);
      const [made] = virtualFunctions(change.of, tools.roots);
      if (made !== change.vf)
        throw new UplinkError(
          `the virtual function of ${change.of} is ${made ?? 'not there'}, and not ${change.vf}`,
        );
      // Others than its own MACs it is to hear as well: those of groups, and of what the node answers for.
      onLink((link) => ({ do: 'set_vf', link, vf: 0, mac: change.mac, trust: true, spoof_check: false }));
      return;
    }
    default:
      return;
  }
}

/** A virtual function that was just made. */
function mustBeAlone(pci: string, { roots = HOST_ROOTS }: PciTools): void {
  const facts = pciFacts(pci, roots);
  const [found] = facts === undefined ? [] : sharedGroup(facts);
  if (found === undefined) return;
  throw new UplinkError(`virtual function ${pci} ${found.what}: ${found.why}; ${found.step}`);
}

function mustHaveFiles(pci: string, driver: string, { roots = HOST_ROOTS }: PciTools): void {
  const files = deviceFiles(pci, roots);
  if (driver !== 'vfio-pci' && files.length === 0) return;
  if (files.some((name) => existsSync(join(roots.dev, name)))) return;
  throw new UplinkError(
    `PCI device ${pci} is bound to ${driver}, and none of ${files.map((name) => `/dev/${name}`).join(', ') || '/dev/vfio/*'} is here: mount the host's /dev in the container`,
  );
}

/** The kernel leaves a group that an address has joined with the address, and not with the link. */
function leaveGroups(namespace: NetworkNamespace, { addresses }: CapturedUplink): void {
  for (const address of addresses)
    if (address.flags & IFA_F_MCAUTOJOIN) namespace.apply({ do: 'delete_address', address });
}

function makeChange(namespace: NetworkNamespace, { link }: CapturedUplink, change: DeviceChange): void {
  const present = namespace.link(link.name);
  if (present === undefined) throw new UplinkError(`uplink ${link.name} vanished before it was taken over`);
  switch (change.do) {
    case 'promisc':
      return namespace.apply({ do: 'set_link', link: present.index, promisc: true });
    case 'mtu':
      return namespace.apply({ do: 'set_link', link: present.index, mtu: change.mtu });
    case 'join_nothing':
      for (const { link: of, by } of change.of) {
        const name = of.index === undefined ? of.name : (namespace.link(of.index)?.name ?? of.name);
        namespace.setFeatures(name, by, false);
      }
      return;
    case 'channels':
      return namespace.setChannels(link.name, { combined: change.combined });
    default:
      return;
  }
}
