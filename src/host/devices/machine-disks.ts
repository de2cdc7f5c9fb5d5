/** Which disks hold what the machine cannot do without, and by what they are reached. Read from sysfs and procfs alone. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readIfExists } from '../files.js';
import { type HostRoots, namesIn } from './sysfs.js';

/** Where programs of the machine, and what they cannot do without, lie: those of containers, this one's among them, as well. */
export const of_the_machine: readonly string[] = [
  ...['/', '/usr', '/lib', '/lib64', '/bin', '/sbin', '/etc', '/opt', '/var', '/var/lib'],
  ...['containerd', 'containers', 'docker', 'kubelet', 'rancher'].map((name) => `/var/lib/${name}`),
];

/** File systems that lie on no disk. */
const in_memory: readonly string[] = ['tmpfs', 'ramfs', 'devtmpfs'];

/** How many layers of partitions, LVM, RAID and encryption are looked through. */
const layers_max = 8;

/**
 * Directories of sysfs of the disks below those places, and of the swap; of several layers all. Undefined: of one it is not known where it lies, as of a file
 * system that keeps its disks to itself (ZFS), that is laid over others, or that is a file of another one (a loop device).
 */
export function machineDisks(roots: HostRoots): readonly string[] | undefined {
  const mounts = readText(join(roots.proc, '1/mountinfo'));
  if (mounts === undefined) return undefined;
  const disks = new Set<string>();
  for (const line of mounts.split('\n')) {
    // Number, parent, major:minor, root, place, options, ..., "-", type, source, options.
    const [before = '', behind = ''] = line.split(' - ');
    const [, , numbers = '', , place = ''] = before.split(' ');
    const [type = '', source = ''] = behind.split(' ');
    if (!of_the_machine.includes(place) || in_memory.includes(type)) continue;
    const disk = blockDevice(numbers, source, roots);
    if (disk === undefined || basename(disk).startsWith('loop')) return undefined;
    addLayers(disk, disks, roots);
  }
  for (const line of (readText(join(roots.proc, 'swaps')) ?? '').split('\n')) {
    const [name = '', type] = line.split(/\s+/);
    const disk = type === 'partition' ? byName(name, roots) : undefined;
    if (disk !== undefined) addLayers(disk, disks, roots);
  }
  return disks.size === 0 ? undefined : [...disks];
}

function blockDevice(numbers: string, source: string, roots: HostRoots): string | undefined {
  // Btrfs has a number of its own, and a device for its source.
  if (!numbers.startsWith('0:')) return realPath(join(roots.sys, 'dev/block', numbers));
  return byName(source, roots);
}

function byName(source: string, { sys }: HostRoots): string | undefined {
  if (!source.startsWith('/dev/')) return undefined;
  const name = basename(source);
  const blocks = join(sys, 'class/block');
  const mapped = source.startsWith('/dev/mapper/')
    ? namesIn(blocks).find((each) => readText(join(blocks, each, 'dm/name'))?.trim() === name)
    : name;
  return mapped === undefined ? undefined : realPath(join(blocks, mapped));
}

function addLayers(disk: string, found: Set<string>, roots: HostRoots, depth = 0): void {
  if (found.has(disk) || depth > layers_max) return;
  found.add(disk);
  const whole = readText(join(disk, 'partition')) === undefined ? disk : dirname(disk);
  for (const below of namesIn(join(whole, 'slaves'))) {
    const path = realPath(join(whole, 'slaves', below));
    if (path !== undefined) addLayers(path, found, roots, depth + 1);
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
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
