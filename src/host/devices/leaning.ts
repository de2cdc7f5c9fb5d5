/** What of the machine leans on its network: disks, and the console of the kernel. Read from sysfs and procfs alone. */
import { basename, dirname, join } from 'node:path';
import { readIfExists } from '../files.js';
import { machineDisks, of_the_machine } from './machine-disks.js';
import { HOST_ROOTS, type HostRoots, namesIn } from './sysfs.js';

const network_file_systems: readonly string[] = [
  ...['nfs', 'nfs4', 'cifs', 'smb3', 'ceph', '9p', 'afs', 'lustre', 'beegfs', 'glusterfs', 'ocfs2', 'gfs2'],
  ...['fuse.glusterfs', 'fuse.sshfs', 'fuse.ceph'],
];

/** Block devices that another machine has: NBD, Ceph's RBD, ATA over Ethernet, DRBD without a disk of its own. */
const network_disks = /^\/dev\/(nbd|rbd|etherd\/|drbd)/;

/**
 * What cannot be without the network for a moment, in words. The mounts are those of process 1: those of this process are a container's where
 * it sees the processes of the host. A disk by the network that holds volumes of pods alone is none of it: its kernel driver waits for minutes, and tries
 * again. Where it is not known which disks hold the machine, each may.
 */
export function leaningOnNetwork(roots: HostRoots = HOST_ROOTS): string[] {
  const { sys, proc } = roots;
  const mounts = readText(join(proc, '1/mounts')) ?? readText(join(proc, 'mounts')) ?? '';
  const remote = remoteDisks(sys);
  const disks = Object.keys(remote).length === 0 ? [] : machineDisks(roots);
  const lean = Object.entries(remote).filter(([, isOf]) => disks === undefined || disks.some(isOf));
  return [...networkMounts(mounts), ...lean.map(([what]) => what)];
}

/** What there is of disks by the network, in words, and by which path of sysfs one of them is told. */
function remoteDisks(sys: string): Readonly<Record<string, (disk: string) => boolean>> {
  const fcoe = namesIn(join(sys, 'class/fc_host')).filter(
    (name) => readText(join(sys, 'class/fc_host', name, 'symbolic_name'))?.includes('fcoe') ?? false,
  );
  const nvme = namesIn(join(sys, 'class/nvme')).filter((name) =>
    ['tcp', 'rdma'].includes(readText(join(sys, 'class/nvme', name, 'transport'))?.trim() ?? ''),
  );
  const isBelow = (disk: string, names: readonly string[]): boolean =>
    disk.split('/').some((part) => names.includes(part));
  return {
    ...(namesIn(join(sys, 'class/iscsi_session')).length > 0 && {
      'an iSCSI disk': (disk: string) => /\/session\d+\//.test(disk),
    }),
    ...(fcoe.length > 0 && { 'an FCoE disk': (disk: string) => isBelow(disk, fcoe) }),
    // A disk of several ways lies below its subsystem, beside the controllers that lead to it.
    ...(nvme.length > 0 && {
      'an NVMe disk': (disk: string) =>
        isBelow(disk, nvme) ||
        [dirname(disk), dirname(dirname(disk))].some(
          (at) => basename(at).startsWith('nvme-subsys') && namesIn(at).some((name) => nvme.includes(name)),
        ),
    }),
  };
}

function networkMounts(mounts: string): string[] {
  return mounts.split('\n').flatMap((line) => {
    const [source = '', at = '', type = ''] = line.split(' ');
    if (!of_the_machine.includes(at)) return [];
    const how = network_disks.test(source) ? source : network_file_systems.includes(type) ? type : undefined;
    if (how === undefined) return [];
    return [at === '/' ? `its root file system (${how})` : `its file system ${at} (${how})`];
  });
}

/** The kernel's own default, where netconsole is given no device. */
const console_default = 'eth0';

/**
 * Names of the network devices of netconsole: those of configfs that are on, as the kernel has them now; or those of the kernel's command line, where
 * configfs is not mounted or has none. Of a module that was loaded with a parameter the kernel says nothing else.
 */
export function netConsoles({ sys, proc }: HostRoots = HOST_ROOTS): string[] {
  const targets = join(sys, 'kernel/config/netconsole');
  const now = namesIn(targets).flatMap((name) => {
    const read = (file: string): string => readText(join(targets, name, file))?.trim() ?? '';
    return read('enabled') === '1' && read('dev_name') !== '' ? [read('dev_name')] : [];
  });
  if (now.length > 0) return [...new Set(now)];
  const words = (readText(join(proc, 'cmdline')) ?? '').trim().split(/\s+/);
  // [+][r][port]@[address]/[device],[port]@address/[MAC]; several are apart by semicolons.
  const asked = words.flatMap(
    (word) => /^netconsole=(.+)$/.exec(word)?.[1]?.replaceAll('"', '').split(';') ?? [],
  );
  return [...new Set(asked.map((target) => /@[^/]*\/([^,]*),/.exec(target)?.[1] || console_default))];
}

/** A file that is there and cannot be read tells nothing. */
function readText(path: string): string | undefined {
  try {
    return readIfExists(path);
  } catch {
    return undefined;
  }
}
