/** What is to be known of a PCI device, and of the machine, before a device is given to a program. Read from sysfs and procfs alone. */
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { readIfExists } from '../files.js';
import { leaningOnNetwork, netConsoles } from './leaning.js';
import { user_space_drivers, virtualFunctions } from './pci-driver.js';
import {
  driverOf,
  HOST_ROOTS,
  type HostRoots,
  hugepageBytes,
  iommuGroup,
  linkName,
  namesIn,
  type PciDevice,
  pciDevice,
  pciDirectory,
  unsafeNoIommuMode,
} from './sysfs.js';

export interface PciFacts extends PciDevice {
  /** What an administrator wants to drive it: `driverctl` writes it. Absent until it is to get another driver: the kernel shows it under a lock. */
  readonly override?: string;
  /** Absent: nothing isolates it. */
  readonly iommu_group?: string;
  /** What an IOMMU cannot tell from it, but for bridges, which vfio does not mind. */
  readonly group: readonly { readonly address: string; readonly driver?: string }[];
  readonly numa?: number;
  /** Network devices of Linux that it carries, where they are several: ports of a card that is one function. */
  readonly links?: readonly string[];
  /** PCI addresses of its virtual functions, and how many it may have. */
  readonly vfs: readonly string[];
  readonly vfs_max: number;
  /** The kernel's drivers take up new virtual functions by themselves. Absent: it has none, or the kernel has no choice. */
  readonly vf_autoprobe?: boolean;
  /** PCI address that the first virtual function has, or would have. */
  readonly first_vf?: string;
  /** Of a virtual function: the device that it is one of. */
  readonly physical_function?: string;
  /** Of a virtio device: it insists that what it reads and writes passes the IOMMU (VIRTIO_F_ACCESS_PLATFORM). Absent: it is none, or Linux does not drive it. */
  readonly passes_iommu?: boolean;
  /** Of the machine: vfio drives what nothing isolates. Absent: it has no such mode. */
  readonly unsafe_no_iommu?: boolean;
}

/** Undefined when there is no such device. */
export function pciFacts(address: string, roots: HostRoots = HOST_ROOTS): PciFacts | undefined {
  const device = pciDevice(address, roots);
  if (device === undefined) return undefined;
  const directory = pciDirectory(address, roots);
  const read = (name: string): string | undefined => readText(join(directory, name))?.trim();
  const number = (name: string): number => Number(read(name) ?? 0) || 0;
  const iommu_group = iommuGroup(address, roots);
  const numa = read('numa_node');
  const vfs = virtualFunctions(address, roots);
  const first_vf = vfs[0] ?? functionAt(address, number('sriov_offset'));
  const passes_iommu = passesIommu(directory);
  const links = namesIn(join(directory, 'net'));
  const autoprobe = read('sriov_drivers_autoprobe');
  const unsafe_no_iommu = unsafeNoIommuMode(roots);
  const physical_function = linkName(join(directory, 'physfn'));
  return {
    ...device,
    ...(iommu_group !== undefined && { iommu_group }),
    group: iommu_group === undefined ? [] : othersIn(address, roots),
    // -1: the machine has one.
    ...(numa !== undefined && Number(numa) >= 0 && { numa: Number(numa) }),
    ...(links.length > 1 && { links }),
    vfs,
    vfs_max: number('sriov_totalvfs'),
    ...(number('sriov_totalvfs') > 0 && first_vf !== undefined && { first_vf }),
    ...(autoprobe !== undefined && { vf_autoprobe: autoprobe === '1' }),
    ...(physical_function !== undefined && { physical_function }),
    ...(passes_iommu !== undefined && { passes_iommu }),
    ...(unsafe_no_iommu !== undefined && { unsafe_no_iommu }),
  };
}

const access_platform = 33;

/** sysfs has the features of a virtio device as a row of 0 and 1, the first one first. */
function passesIommu(directory: string): boolean | undefined {
  const bus_name = namesIn(directory).find((name) => /^virtio\d+$/.test(name));
  const features = bus_name && readText(join(directory, bus_name, 'features'))?.trim();
  return features ? features[access_platform] === '1' : undefined;
}

const network_class = '0x02';

/** Network devices whose kernel driver hands them to a program. */
export function givenAway(
  roots: HostRoots = HOST_ROOTS,
): { readonly address: string; readonly driver: string }[] {
  return user_space_drivers.flatMap((driver) =>
    namesIn(join(roots.sys, 'bus/pci/drivers', driver))
      .filter((name) => (readText(join(pciDirectory(name, roots), 'class')) ?? '').startsWith(network_class))
      .map((address) => ({ address, driver })),
  );
}

/** Of PCI to PCI, to CardBus, and half of either. Not those to ISA, whose driver vfio minds as any other. */
const bridge_class = /^0x060[479]/;

function othersIn(address: string, roots: HostRoots): PciFacts['group'] {
  return namesIn(join(pciDirectory(address, roots), 'iommu_group/devices'))
    .filter((name) => name !== address)
    .filter((name) => !bridge_class.test(readText(join(pciDirectory(name, roots), 'class')) ?? ''))
    .map((name) => {
      const driver = driverOf(name, roots);
      return { address: name, ...(driver !== undefined && { driver }) };
    });
}

/** The function whose routing id is so much behind that of `address`. */
export function functionAt(address: string, offset: number): string | undefined {
  const [, domain, bus, device, function_] =
    /^([0-9a-f]{4,}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(address) ?? [];
  if (function_ === undefined || offset === 0) return undefined;
  const id = Number.parseInt(bus!, 16) * 256 + Number.parseInt(device!, 16) * 8 + Number(function_) + offset;
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `${domain}:${hex(id >> 8)}:${hex((id >> 3) & 31)}.${id & 7}`;
}

/** What drivers of VPP may need of the machine. */
export interface MachineFacts {
  /** Kernel drivers for PCI devices that are loaded, of those that hand a device to a program. */
  readonly user_space_drivers: readonly string[];
  /** Is /dev/vfio here? Where its module is loaded and it is not, this is a container without the host's /dev. */
  readonly has_vfio_files: boolean;
  /** May sysfs be written? */
  readonly can_write_sys: boolean;
  /** May vfio drive what nothing isolates? Undefined: it has no such mode. */
  readonly unsafe_no_iommu?: boolean;
  /** Of the size that programs get without asking for another. */
  readonly hugepage_bytes: number;
  /** VPP's start-up file has its buffers on pages of 4 KiB, whatever hugepages there are. Absent: it is not known. */
  readonly small_buffers?: boolean;
  /** VPP has its plugin for DPDK. Absent: it is not known. */
  readonly has_dpdk?: boolean;
  /** Names of dpdk uplinks that a `dpdk` section of the user's has no device for. Absent: there is no such section. */
  readonly untagged?: readonly string[];
  /** PCI addresses of the devices that such a section names, as it spells them. */
  readonly dpdk_devices?: readonly string[];
  /** How far the kernel is locked down: `integrity`, `confidentiality`. Absent: not at all. */
  readonly lockdown?: string;
  /** What of the machine is reached by the network and cannot be without it for a moment. */
  readonly leans_on_network: readonly string[];
  /** Names of network devices by which the kernel sends its console. */
  readonly net_consoles: readonly string[];
  /** Flags of /proc/cpuinfo that VPP is built for and that no processor here has. */
  readonly cpu_lacks: readonly string[];
  /** How much memory VPP may lock, in bytes. Absent: as much as it likes. */
  readonly locked_memory_bytes?: number;
  /** Verbs devices of RDMA are there, and their files. */
  readonly has_verbs: boolean;
}

export function machineFacts(roots: HostRoots = HOST_ROOTS): MachineFacts {
  const { sys, proc, dev } = roots;
  const unsafe_no_iommu = unsafeNoIommuMode(roots);
  const lockdown = /\[(\w+)\]/.exec(readText(join(sys, 'kernel/security/lockdown')) ?? '')?.[1];
  const locked_memory_bytes = lockedMemory(roots);
  return {
    user_space_drivers: user_space_drivers.filter((name) => existsSync(join(sys, 'bus/pci/drivers', name))),
    has_vfio_files: existsSync(join(dev, 'vfio/vfio')),
    can_write_sys: isWritable(join(sys, 'bus/pci/drivers_probe')),
    ...(unsafe_no_iommu !== undefined && { unsafe_no_iommu }),
    hugepage_bytes: hugepageBytes(roots),
    ...(lockdown !== undefined && lockdown !== 'none' && { lockdown }),
    leans_on_network: leaningOnNetwork(roots),
    net_consoles: netConsoles(roots),
    cpu_lacks: cpuLacks(readText(join(proc, 'cpuinfo'))),
    ...(locked_memory_bytes !== undefined && { locked_memory_bytes }),
    has_verbs: namesIn(join(sys, 'class/infiniband_verbs')).some(
      (name) => name.startsWith('uverbs') && existsSync(join(dev, 'infiniband', name)),
    ),
  };
}

/** VPP is built for x86-64-v2 (its `cmake/cpu.cmake`), and picks what newer processors have when it runs. As /proc/cpuinfo has them; `pni` is SSE3. */
const x86_64_v2: readonly string[] = ['cx16', 'lahf_lm', 'pni', 'popcnt', 'sse4_1', 'sse4_2', 'ssse3'];

/** Of processors of another kind nothing is known. */
function cpuLacks(cpuinfo: string | undefined): string[] {
  const flags = /^flags\s*:(.*)$/m
    .exec(cpuinfo ?? '')?.[1]
    ?.trim()
    .split(/\s+/);
  return flags === undefined ? [] : x86_64_v2.filter((flag) => !flags.includes(flag));
}

/**
 * VPP inherits the limits of this process, which lifts that of locked memory where it may (CAP_SYS_RESOURCE); with CAP_IPC_LOCK there is none
 * in any case.
 */
function lockedMemory({ proc }: HostRoots): number | undefined {
  const text = /^CapEff:\s+([0-9a-f]+)$/m.exec(readText(join(proc, 'self/status')) ?? '')?.[1];
  const effective = BigInt(`0x${text ?? '0'}`);
  if (unlimited_by.some((bit) => (effective >> bit) & 1n)) return undefined;
  const hard = /^Max locked memory\s+\S+\s+(\S+)/m.exec(readText(join(proc, 'self/limits')) ?? '')?.[1];
  return hard === undefined || hard === 'unlimited' ? undefined : Number(hard);
}

/** CAP_IPC_LOCK, CAP_SYS_RESOURCE. */
const unlimited_by = [14n, 24n] as const;

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** A file that is there and cannot be read tells nothing. */
function readText(path: string): string | undefined {
  try {
    return readIfExists(path);
  } catch {
    return undefined;
  }
}
