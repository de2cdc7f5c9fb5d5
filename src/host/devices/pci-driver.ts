/** Which kernel driver a PCI device has, and how it gets another. */
import { existsSync } from 'node:fs';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readIfExists } from '../files.js';
import {
  BindError,
  KernelBusy,
  mustBeDone,
  readLocked,
  type SysfsTools,
  writeLocked,
} from './locked-files.js';
import {
  driverOf,
  HOST_ROOTS,
  type HostRoots,
  iommuGroup,
  linkName,
  namesIn,
  pciDirectory,
} from './sysfs.js';

/** What it takes to change a driver. */
export interface PciTools extends SysfsTools {
  readonly roots?: HostRoots;
}

/** Kernel drivers that hand a device to a program, and do nothing with it themselves. */
export const user_space_drivers: readonly string[] = ['vfio-pci', 'uio_pci_generic', 'igb_uio'];

/** VPP's files are closed with its end, which a SIGKILL only begins. */
const release_ms = 3000;
const release_poll_ms = 100;

export interface Binding {
  readonly pci: string;
  readonly driver: string;
  /** `driver_override` as it is to be afterwards. Absent: none. */
  readonly override?: string;
}

/**
 * The PCI device has this kernel driver. `driver_override` names the one driver that may take this one device: unlike `new_id` it
 * leaves no rule behind that twins of the device would follow. False: it was so already. Idempotent, also when an earlier one broke off between two
 * writes. Throws BindError; KernelBusy where the kernel is not done with the device: what is left to do is for the next attempt. A device that a program has open is not taken from it: the kernel would wait for that program, and nobody
 * could end who waits.
 */
export async function bindDriver({ pci, driver, override }: Binding, tools: PciTools): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  const device = pciDirectory(pci, roots);
  if (!existsSync(device)) throw new BindError(`there is no PCI device ${pci}`);
  mustBeDone(device);
  const present = driverOf(pci, roots);
  if (present === driver) return setOverride(pci, override, tools);
  const directory = join(roots.sys, 'bus/pci/drivers', driver);
  if (!existsSync(directory)) {
    const module = driver.replaceAll('-', '_');
    throw new BindError(`kernel driver ${driver} is not loaded: run "modprobe ${module}" on the host`);
  }
  if (user_space_drivers.includes(present ?? '')) await released(pci, tools);
  try {
    await writeLocked(device, join(device, 'driver_override'), driver, tools);
    if (present !== undefined) await writeLocked(device, join(device, 'driver/unbind'), pci, tools);
    await writeLocked(device, join(directory, 'bind'), pci, tools);
  } catch (error) {
    if (!(error instanceof KernelBusy)) await setOverride(pci, override, tools);
    throw error;
  }
  await setOverride(pci, override, tools);
  const now = driverOf(pci, roots);
  if (now !== driver)
    throw new BindError(`PCI device ${pci} has the kernel driver ${now ?? '(none)'}, and not ${driver}`);
  return true;
}

/** What `driver_override` says. Undefined: nothing. Throws KernelBusy. */
export async function driverOverride(pci: string, tools: PciTools): Promise<string | undefined> {
  const text = await readLocked(join(pciDirectory(pci, tools.roots), 'driver_override'), tools);
  return text === undefined || text === '' || text === '(null)' ? undefined : text;
}

/** An empty line clears it. */
async function setOverride(pci: string, override: string | undefined, tools: PciTools): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  if ((await driverOverride(pci, tools)) === override) return false;
  await writeLocked(
    pciDirectory(pci, roots),
    join(pciDirectory(pci, roots), 'driver_override'),
    override ?? '\n',
    tools,
  );
  return true;
}

/** So many virtual functions. False: it was so already. Throws BindError. */
export async function setVirtualFunctions(
  { pci, count, autoprobe }: { readonly pci: string; readonly count: number; readonly autoprobe: boolean },
  tools: PciTools,
): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  const device = pciDirectory(pci, roots);
  mustBeDone(device);
  const numbers = join(device, 'sriov_numvfs');
  const present = await readLocked(numbers, tools);
  if (present === undefined) throw new BindError(`PCI device ${pci} makes no virtual functions`);
  const probing = join(device, 'sriov_drivers_autoprobe');
  const probes = readIfExists(probing)?.trim();
  const turn = async (): Promise<boolean> => {
    if (probes === undefined || probes === (autoprobe ? '1' : '0')) return false;
    await writeLocked(device, probing, autoprobe ? '1' : '0', tools);
    return true;
  };
  if (Number(present) === count) return turn();
  if (count > 0) await turn();
  // The kernel goes from one number to another by way of none.
  if (Number(present) > 0) {
    for (const function_ of virtualFunctions(pci, roots)) await released(function_, tools);
    await writeLocked(device, numbers, '0', tools);
  }
  if (count > 0) await writeLocked(device, numbers, `${count}`, tools);
  else await turn();
  return true;
}

/** PCI addresses of the virtual functions, in order. */
export function virtualFunctions(pci: string, roots: HostRoots = HOST_ROOTS): string[] {
  return namesIn(pciDirectory(pci, roots))
    .flatMap((name) => /^virtfn(\d+)$/.exec(name)?.[1] ?? [])
    .sort((a, b) => Number(a) - Number(b))
    .flatMap((number) => linkName(join(pciDirectory(pci, roots), `virtfn${number}`)) ?? []);
}

/** False: it was so already. Throws BindError where vfio has no such choice. */
export async function setUnsafeNoIommu(on: boolean, tools: PciTools): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  const path = join(roots.sys, 'module/vfio/parameters/enable_unsafe_noiommu_mode');
  const present = readIfExists(path)?.trim();
  if (present === undefined)
    throw new BindError("the host's vfio drives no device without an IOMMU (CONFIG_VFIO_NOIOMMU)");
  if ((present === 'Y' || present === '1') === on) return false;
  await writeLocked(path, path, on ? 'Y' : 'N', tools);
  return true;
}

/** Files in /dev by which a program drives the device. */
export function deviceFiles(pci: string, roots: HostRoots = HOST_ROOTS): string[] {
  const device = pciDirectory(pci, roots);
  const group = iommuGroup(pci, roots);
  return [
    ...(group === undefined ? [] : [`vfio/${group}`, `vfio/noiommu-${group}`]),
    ...namesIn(join(device, 'vfio-dev')).map((name) => `vfio/devices/${name}`),
    ...namesIn(join(device, 'uio')),
  ];
}

export interface Holder {
  readonly pid: number;
  readonly name: string;
}

/** Programs that have the device open, as far as this process sees them. */
export async function holdersOf(pci: string, roots: HostRoots = HOST_ROOTS): Promise<Holder[]> {
  const files = deviceFiles(pci, roots).map((name) => `/dev/${name}`);
  if (files.length === 0) return [];
  const found: Holder[] = [];
  for (const pid of namesIn(roots.proc).filter((name) => /^\d+$/.test(name))) {
    const descriptors = join(roots.proc, pid, 'fd');
    const open = await readdir(descriptors).catch(() => []);
    const targets = await Promise.all(open.map((name) => readlink(join(descriptors, name)).catch(() => '')));
    if (!targets.some((target) => files.includes(target))) continue;
    found.push({ pid: Number(pid), name: readIfThere(join(roots.proc, pid, 'comm')) ?? 'a program' });
  }
  return found;
}

/** Resolves when no program has it open. */
async function released(pci: string, tools: PciTools): Promise<void> {
  const { clock, roots = HOST_ROOTS } = tools;
  const deadline_ms = clock.now_ms() + release_ms;
  for (;;) {
    const [holder] = await holdersOf(pci, roots);
    if (holder === undefined) return;
    if (clock.now_ms() >= deadline_ms)
      throw new BindError(`${holder.name} (process ${holder.pid}) has PCI device ${pci} open: end it`);
    await clock.sleep(release_poll_ms);
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readIfExists(path)?.trim();
  } catch {
    return undefined;
  }
}
