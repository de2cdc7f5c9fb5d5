/** Which kernel driver a PCI device has, and how it gets another. */
import { constants, existsSync } from 'node:fs';
import { readdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../clock.js';
import { readIfExists } from '../files.js';
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
export interface PciTools {
  readonly clock: Clock;
  readonly roots?: HostRoots;
  /** Writes to a file of sysfs that is there. Absent: as it is. */
  readonly write?: (path: string, value: string) => Promise<void>;
}

/** Kernel drivers that hand a device to a program, and do nothing with it themselves. */
export const user_space_drivers: readonly string[] = ['vfio-pci', 'uio_pci_generic', 'igb_uio'];

/** A kernel driver lets go of its device within a second or two; a card with firmware may take ten. */
const write_ms = 20_000;
/** VPP's files are closed with its end, which a SIGKILL only begins. */
const release_ms = 3000;
const release_poll_ms = 100;

/** The device cannot be given another driver, for a reason that is for a person to mend. */
export class BindError extends Error {
  override readonly name = 'BindError';
}

export interface Binding {
  readonly pci: string;
  readonly driver: string;
  /** `driver_override` as it is to be afterwards. Absent: none. */
  readonly override?: string;
}

/**
 * The PCI device has this kernel driver. `driver_override` names the one driver that may take this one device: unlike `new_id` it
 * leaves no rule behind that twins of the device would follow. False: it was so already. Idempotent, also when an earlier one broke off between two
 * writes. Throws BindError. A device that a program has open is not taken from it: the kernel would wait for that program, and nobody
 * could end who waits.
 */
export async function bindDriver({ pci, driver, override }: Binding, tools: PciTools): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  const device = pciDirectory(pci, roots);
  if (!existsSync(device)) throw new BindError(`there is no PCI device ${pci}`);
  const present = driverOf(pci, roots);
  if (present === driver) return setOverride(pci, override, tools);
  const directory = join(roots.sys, 'bus/pci/drivers', driver);
  if (!existsSync(directory)) {
    const module = driver.replaceAll('-', '_');
    throw new BindError(`kernel driver ${driver} is not loaded: run "modprobe ${module}" on the host`);
  }
  if (user_space_drivers.includes(present ?? '')) await released(pci, tools);
  try {
    await write(join(device, 'driver_override'), driver, tools);
    if (present !== undefined) await write(join(device, 'driver/unbind'), pci, tools);
    await write(join(directory, 'bind'), pci, tools);
  } finally {
    await setOverride(pci, override, tools);
  }
  const now = driverOf(pci, roots);
  if (now !== driver)
    throw new BindError(`PCI device ${pci} has the kernel driver ${now ?? '(none)'}, and not ${driver}`);
  return true;
}

/** What `driver_override` says. Undefined: nothing. */
export function driverOverride(pci: string, roots: HostRoots = HOST_ROOTS): string | undefined {
  const text = readIfThere(join(pciDirectory(pci, roots), 'driver_override'));
  return text === undefined || text === '' || text === '(null)' ? undefined : text;
}

/** An empty line clears it. */
async function setOverride(pci: string, override: string | undefined, tools: PciTools): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  if (driverOverride(pci, roots) === override) return false;
  await write(join(pciDirectory(pci, roots), 'driver_override'), override ?? '\n', tools);
  return true;
}

/** So many virtual functions. False: it was so already. Throws BindError. */
export async function setVirtualFunctions(
  { pci, count, autoprobe }: { readonly pci: string; readonly count: number; readonly autoprobe: boolean },
  tools: PciTools,
): Promise<boolean> {
  const { roots = HOST_ROOTS } = tools;
  const device = pciDirectory(pci, roots);
  const numbers = join(device, 'sriov_numvfs');
  const present = readIfExists(numbers)?.trim();
  if (present === undefined) throw new BindError(`PCI device ${pci} makes no virtual functions`);
  const probing = join(device, 'sriov_drivers_autoprobe');
  const probes = readIfExists(probing)?.trim();
  const turn = async (): Promise<boolean> => {
    if (probes === undefined || probes === (autoprobe ? '1' : '0')) return false;
    await write(probing, autoprobe ? '1' : '0', tools);
    return true;
  };
  if (Number(present) === count) return turn();
  if (count > 0) await turn();
  // The kernel goes from one number to another by way of none.
  if (Number(present) > 0) {
    for (const function_ of virtualFunctions(pci, roots)) await released(function_, tools);
    await write(numbers, '0', tools);
  }
  if (count > 0) await write(numbers, `${count}`, tools);
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
  await write(path, on ? 'Y' : 'N', tools);
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

/** In a thread of the pool, and no longer than it may take: what the kernel does meanwhile holds up nobody else. */
async function write(
  path: string,
  value: string,
  { clock, write: how = writeText }: PciTools,
): Promise<void> {
  let late: { cancel(): void } | undefined;
  const limit = new Promise<never>((_, reject) => {
    late = clock.after(write_ms, () =>
      reject(
        new BindError(
          `the kernel has not taken ${JSON.stringify(value.trim())} in ${path} within ${write_ms} ms`,
        ),
      ),
    );
  });
  try {
    await Promise.race([how(path, value), limit]);
  } catch (error) {
    if (error instanceof BindError) throw error;
    throw new BindError(
      `${path} does not take ${JSON.stringify(value.trim())}: ${(error as Error).message}${hintOf(error)}`,
      {
        cause: error,
      },
    );
  } finally {
    late?.cancel();
  }
}

function hintOf(error: unknown): string {
  switch ((error as { code?: unknown } | null)?.code) {
    case 'EROFS':
    case 'EACCES':
      return '; mount /sys writable in the container';
    case 'EPERM':
      return '; the kernel is locked down (secure boot), or the container is not privileged';
    case 'EBUSY':
      return '; something else has it';
    case 'ENODEV':
      return '; the driver does not take this device: see "dmesg" on the host';
    default:
      return '';
  }
}

/** For writing alone: sysfs lets nobody, root neither, read `bind` and `unbind`, and refuses to open them for both (EACCES). */
const writeText = (path: string, value: string): Promise<void> =>
  writeFile(path, value, { flag: constants.O_WRONLY });

function readIfThere(path: string): string | undefined {
  try {
    return readIfExists(path)?.trim();
  } catch {
    return undefined;
  }
}
