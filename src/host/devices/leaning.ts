/** What of the machine leans on its network: disks, and the console of the kernel. Read from sysfs and procfs alone. */
import { join } from 'node:path';
import { readIfExists } from '../files.js';
import { HOST_ROOTS, type HostRoots, namesIn } from './sysfs.js';

const network_file_systems: readonly string[] = [
  ...['nfs', 'nfs4', 'cifs', 'smb3', 'ceph', '9p', 'afs', 'lustre', 'beegfs', 'glusterfs', 'ocfs2', 'gfs2'],
  ...['fuse.glusterfs', 'fuse.sshfs', 'fuse.ceph'],
];

/** Where programs of the machine, and what they cannot do without, lie. */
const of_the_machine: readonly string[] = ['/', '/usr', '/lib', '/lib64', '/bin', '/sbin', '/etc', '/var'];

/** Block devices that another machine has: NBD, Ceph's RBD, ATA over Ethernet, DRBD without a disk of its own. */
const network_disks = /^\/dev\/(nbd|rbd|etherd\/|drbd)/;

/**
 * What cannot be without the network for a moment, in words. The mounts are those of process 1: those of this process are a container's where
 * it sees the processes of the host.
 */
export function leaningOnNetwork({ sys, proc }: HostRoots = HOST_ROOTS): string[] {
  const mounts = readText(join(proc, '1/mounts')) ?? readText(join(proc, 'mounts')) ?? '';
  return [
    ...networkMounts(mounts),
    ...(namesIn(join(sys, 'class/iscsi_session')).length > 0 ? ['an iSCSI disk'] : []),
    ...(namesIn(join(sys, 'class/fc_host')).some(
      (name) => readText(join(sys, 'class/fc_host', name, 'symbolic_name'))?.includes('fcoe') ?? false,
    )
      ? ['an FCoE disk']
      : []),
    ...(namesIn(join(sys, 'class/nvme')).some((name) =>
      ['tcp', 'rdma'].includes(readText(join(sys, 'class/nvme', name, 'transport'))?.trim() ?? ''),
    )
      ? ['an NVMe disk']
      : []),
  ];
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
