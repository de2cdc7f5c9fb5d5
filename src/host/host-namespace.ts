/** Which network namespace this process has, as VPP and the kernel see it. */
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { HOST_ROOTS, type HostRoots } from './devices/sysfs.js';

type Proc = Pick<HostRoots, 'proc'>;

/** PROC_PID_INIT_INO: the number that the kernel gives the first namespace of processes, on every machine. */
const first_pid_namespace = 'pid:[4026531836]';

/** Is process 1 that of the machine? In a container, and in a machine that is one, it is not. */
export function seesMachine({ proc }: Proc = HOST_ROOTS): boolean {
  return namespaceOf(proc, 'self', 'pid') === first_pid_namespace;
}

/**
 * How VPP reaches the host's network namespace, which is that of this process: by init, where it has the same one, since
 * that path means the same in the next life of this process.
 */
export function hostNamespacePath(roots: Proc = HOST_ROOTS): string {
  return hasNetworkOfInit(roots) ? 'pid:1' : `/proc/${process.pid}/ns/net`;
}

/**
 * Is it the first one of the machine, to which the kernel gives physical devices back? Not known, and denied, where the machine's own
 * init cannot be seen: that of a machine in a container has the namespace of the container.
 */
export function isFirstNetwork(roots: Proc = HOST_ROOTS): boolean {
  return seesMachine(roots) && hasNetworkOfInit(roots);
}

function hasNetworkOfInit({ proc }: Proc): boolean {
  return namespaceOf(proc, '1', 'net') === namespaceOf(proc, 'self', 'net');
}

function namespaceOf(proc: string, pid: string, kind: 'net' | 'pid'): string | undefined {
  try {
    return readlinkSync(join(proc, pid, 'ns', kind));
  } catch {
    return undefined;
  }
}
