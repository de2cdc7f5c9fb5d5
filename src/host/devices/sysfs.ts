import { existsSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readIfExists } from '../files.js';

/** What the machine is: read from sysfs, procfs and /dev, whose places are given so that tests can bring their own. */
export interface HostRoots {
  readonly sys: string;
  readonly proc: string;
  readonly dev: string;
}

export const HOST_ROOTS: HostRoots = { sys: '/sys', proc: '/proc', dev: '/dev' };

/** A path that ends in a PCI function, or in the virtio device on one. */
const pci_function = /\/([0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(\/virtio\d+)?$/i;

export interface PciDevice {
  /** `0000:03:00.0`; for virtio, the PCI function that the virtio device sits on. */
  readonly address: string;
  /** Kernel driver that holds it; absent: none. */
  readonly driver?: string;
  /** Four hex digits each, without 0x. */
  readonly vendor: string;
  readonly device: string;
}

/**
 * Undefined for a link that is no PCI device: one of a USB bus lies below the function that drives the bus, and all else that is on it. Names a link of the
 * namespace that /sys was mounted in.
 */
export function pciDeviceOfLink(link_name: string, roots: HostRoots = HOST_ROOTS): PciDevice | undefined {
  const path = realPath(join(roots.sys, 'class/net', link_name, 'device'));
  const [, address] = (path && pci_function.exec(path)) ?? [];
  return address === undefined ? undefined : pciDevice(address, roots);
}

/** As `pciDeviceOfLink`, of this very link: one of its name in the namespace that /sys was mounted in may be another one, and then nothing is known. */
export function pciAddressOf(
  { kind, name, index }: { readonly kind?: string; readonly name: string; readonly index: number },
  roots: HostRoots = HOST_ROOTS,
): string | undefined {
  if (kind !== undefined) return undefined;
  const known = readText(join(roots.sys, 'class/net', name, 'ifindex'))?.trim();
  return known !== undefined && Number(known) !== index ? undefined : pciDeviceOfLink(name, roots)?.address;
}

/** Has the link of that name sent or received a packet since it is there? By a driver that asks its device, which tells of no more than it does. */
export function hasCarried(name: string, roots: HostRoots = HOST_ROOTS): boolean {
  return ['rx_packets', 'tx_packets'].some(
    (counter) => Number(readText(join(roots.sys, 'class/net', name, 'statistics', counter)) ?? 0) > 0,
  );
}

/** Undefined when there is no such device. */
export function pciDevice(address: string, roots: HostRoots = HOST_ROOTS): PciDevice | undefined {
  const directory = pciDirectory(address, roots);
  if (!existsSync(directory)) return undefined;
  const driver = driverOf(address, roots);
  const id = (name: string) => (readIfExists(join(directory, name)) ?? '').trim().replace(/^0x/, '');
  return { address, vendor: id('vendor'), device: id('device'), ...(driver === undefined ? {} : { driver }) };
}

export function pciDirectory(address: string, roots: HostRoots = HOST_ROOTS): string {
  return join(roots.sys, 'bus/pci/devices', address);
}

export function driverOf(address: string, roots: HostRoots = HOST_ROOTS): string | undefined {
  return linkName(join(pciDirectory(address, roots), 'driver'));
}

/** What a symbolic link of sysfs leads to, by its last name. */
export function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

const NOIOMMU = 'module/vfio/parameters/enable_unsafe_noiommu_mode';

/** May vfio drive a device without an IOMMU? Undefined: vfio is not loaded, or was built without the choice. */
export function unsafeNoIommuMode(roots: HostRoots = HOST_ROOTS): boolean | undefined {
  const text = readIfExists(join(roots.sys, NOIOMMU))?.trim();
  return text === undefined ? undefined : text === 'Y' || text === '1';
}

/** Number of the group that isolates the device; undefined without an IOMMU. */
export function iommuGroup(address: string, roots: HostRoots = HOST_ROOTS): string | undefined {
  const path = realPath(join(pciDirectory(address, roots), 'iommu_group'));
  return path && basename(path);
}

export interface Hugepages {
  readonly size_bytes: number;
  readonly total: number;
  readonly free: number;
}

/** Of all sizes that the kernel knows, on all NUMA nodes together, smallest size first. */
export function hugepages(roots: HostRoots = HOST_ROOTS): Hugepages[] {
  const directory = join(roots.sys, 'kernel/mm/hugepages');
  return entries(directory)
    .flatMap((name) => {
      const kilobytes = /^hugepages-(\d+)kB$/.exec(name)?.[1];
      if (kilobytes === undefined) return [];
      const count = (file: string) => Number(readIfExists(join(directory, name, file)) ?? 0);
      return [
        { size_bytes: Number(kilobytes) * 1024, total: count('nr_hugepages'), free: count('free_hugepages') },
      ];
    })
    .sort((a, b) => a.size_bytes - b.size_bytes);
}

/**
 * Bytes of hugepages of the size that programs get without asking for another, as many as this process may have: the machine's, or what its
 * cgroup allows where that is less. Who takes more of them is ended by SIGBUS when it touches the first of those beyond. Totals, not
 * what is free now.
 */
export function hugepageBytes(roots: HostRoots = HOST_ROOTS): number {
  const kilobytes = /^Hugepagesize:\s+(\d+) kB/m.exec(readIfExists(join(roots.proc, 'meminfo')) ?? '')?.[1];
  const sizes = hugepages(roots);
  const { size_bytes, total } = sizes.find((each) => each.size_bytes === Number(kilobytes) * 1024) ??
    sizes[0] ?? { size_bytes: 0, total: 0 };
  return Math.min(size_bytes * total, ...hugepageLimits(size_bytes, roots));
}

/** Of the own cgroup and of those above it: files of cgroup v2, then of v1. */
function hugepageLimits(size_bytes: number, { proc, sys }: HostRoots): number[] {
  const size = hugepageName(size_bytes);
  const lines = (readProcessFile(join(proc, 'self/cgroup')) ?? '').split('\n');
  return lines.flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (controllers !== '' && !controllers.split(',').includes('hugetlb')) return [];
    const [root, files] =
      controllers === ''
        ? [join(sys, 'fs/cgroup'), [`hugetlb.${size}.max`, `hugetlb.${size}.rsvd.max`]]
        : [join(sys, 'fs/cgroup/hugetlb'), [`hugetlb.${size}.limit_in_bytes`]];
    const names = path.split('/').filter((name) => name !== '');
    const directories = [...names.keys(), names.length].map((depth) => join(root, ...names.slice(0, depth)));
    return directories.flatMap((directory) =>
      files.flatMap((file) => {
        const limit = (readProcessFile(join(directory, file)) ?? '').trim();
        return /^\d+$/.test(limit) ? [Number(limit)] : [];
      }),
    );
  });
}

/** As the kernel writes a size in the names of these files: 64KB, 2MB, 1GB. */
function hugepageName(bytes: number): string {
  if (bytes >= 2 ** 30) return `${bytes / 2 ** 30}GB`;
  return bytes >= 2 ** 20 ? `${bytes / 2 ** 20}MB` : `${bytes / 1024}KB`;
}

export interface KernelVersion {
  readonly text: string;
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** From `uname -r` of any distribution: `5.15.0-91-generic`, `6.6.10`, `6.18-rc1`. Undefined when it begins otherwise. */
export function parseKernelVersion(text: string): KernelVersion | undefined {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (!match) return undefined;
  return { text, major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) };
}

export function kernelVersion(roots: HostRoots = HOST_ROOTS): KernelVersion | undefined {
  return parseKernelVersion((readIfExists(join(roots.proc, 'sys/kernel/osrelease')) ?? '').trim());
}

export function kernelAtLeast(version: KernelVersion, major: number, minor: number, patch = 0): boolean {
  const difference = version.major - major || version.minor - minor || version.patch - patch;
  return difference >= 0;
}

/** Changes with every start of the machine. Undefined where the kernel does not tell. */
export function bootId(roots: HostRoots = HOST_ROOTS): string | undefined {
  return readIfExists(join(roots.proc, 'sys/kernel/random/boot_id'))?.trim() || undefined;
}

/**
 * When process `pid` was started, in clock ticks since boot: with the number it names a process for good.
 * Undefined when there is none; one that has exited and is not waited for yet counts as none.
 */
export function processStartTime(pid: number, roots: HostRoots = HOST_ROOTS): number | undefined {
  const stat = readProcessFile(join(roots.proc, String(pid), 'stat'));
  // The second field is the program's name in parentheses, which may hold blanks and parentheses itself.
  const [state, ...fields] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  const start = fields[22 - 4];
  return start === undefined || state === 'Z' ? undefined : Number(start);
}

/**
 * How long the main thread of a process has wanted a CPU and has not had one, in milliseconds since it began: the second field of schedstat, which
 * grows when a wait ends. 0 where the kernel does not count it, and without such a process.
 */
export function waitedForCpuMs(pid: number, roots: HostRoots = HOST_ROOTS): number {
  const [, waited_ns = '0'] = readProcessFile(join(roots.proc, String(pid), 'schedstat'))?.split(' ') ?? [];
  return Number(waited_ns) / 1e6 || 0;
}

/** As `waitedForCpuMs`, of all its threads together: of a Go program the first one may be idle for ever. */
export function threadsWaitedForCpuMs(pid: number, roots: HostRoots = HOST_ROOTS): number {
  const tasks = join(roots.proc, String(pid), 'task');
  let sum_ms = 0;
  for (const thread of namesIn(tasks)) sum_ms += waitedForCpuMs(Number(thread), { ...roots, proc: tasks });
  return sum_ms;
}

/** None where there is no such directory, as of a process that has ended. */
export function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** The process whose command line ends in these words; the first, if there are several. */
export function processRunningAs(
  words: readonly string[],
  roots: HostRoots = HOST_ROOTS,
): number | undefined {
  const end = `${words.join('\0')}\0`;
  const pid = readdirSync(roots.proc)
    .filter((name) => /^\d+$/.test(name))
    .find((name) => readProcessFile(join(roots.proc, name, 'cmdline'))?.endsWith(end));
  return pid === undefined ? undefined : Number(pid);
}

/** Processes of these programs, by the name of the file that each was started from. */
export function processesOf(
  programs: readonly string[],
  roots: HostRoots = HOST_ROOTS,
): { readonly pid: number; readonly name: string }[] {
  return readdirSync(roots.proc).flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const [started = ''] = (readProcessFile(join(roots.proc, pid, 'cmdline')) ?? '').split('\0');
    const name = basename(started);
    return programs.includes(name) ? [{ pid: Number(pid), name }] : [];
  });
}

/** Whether some process of this network namespace takes connections at the path of a unix socket. */
export function listensAt(path: string, roots: HostRoots = HOST_ROOTS): boolean {
  // Num RefCount Protocol Flags Type St Inode Path; the flag is that of `listen` (__SO_ACCEPTCON).
  const lines = readProcessFile(join(roots.proc, 'net/unix'))?.split('\n') ?? [];
  return lines.some((line) => {
    const [, , , flags = '0', , , , ...words] = line.trim().split(' ').filter(Boolean);
    return words.join(' ') === path && (Number.parseInt(flags, 16) & 0x1_0000) !== 0;
  });
}

/** A process can vanish between open and read. */
function readProcessFile(path: string): string | undefined {
  try {
    return readIfExists(path);
  } catch {
    return undefined;
  }
}

/** What VPP may need of the machine, each by its presence. */
export interface HostDevices {
  readonly tun: boolean;
  readonly vhost_net: boolean;
  readonly vfio: boolean;
}

export function hostDevices(roots: HostRoots = HOST_ROOTS): HostDevices {
  const present = (name: string) => existsSync(join(roots.dev, name));
  return { tun: present('net/tun'), vhost_net: present('vhost-net'), vfio: present('vfio/vfio') };
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** A file that cannot be read tells nothing: a link may go meanwhile. */
function readText(path: string): string | undefined {
  try {
    return readIfExists(path);
  } catch {
    return undefined;
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** `MemAvailable` or another line of /proc/meminfo, in bytes; 0 when there is none. */
export function memoryBytes(line: 'MemAvailable' | 'MemTotal', roots: HostRoots = HOST_ROOTS): number {
  const text = readIfExists(join(roots.proc, 'meminfo')) ?? '';
  return Number(new RegExp(`^${line}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}
