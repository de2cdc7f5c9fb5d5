import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HOST_ROOTS, type HostRoots } from './devices/sysfs.js';
import { seesMachine } from './host-namespace.js';

/**
 * Where the host's file system is, as this process sees it, without a closing slash: empty in the host itself. `configured` is looked at
 * first. Where nobody has asked for it (`is_default`) and nothing is there, the process may run on the host itself. Undefined: it does
 * not, and nothing of the host's services and files can be reached.
 */
export function findHostRoot(
  configured: string,
  is_default: boolean,
  roots: Pick<HostRoots, 'proc'> = HOST_ROOTS,
): string | undefined {
  const path = configured.replace(/\/+$/, '');
  if (isHostRoot(configured)) return path;
  return is_default && isHostItself(roots) ? '' : undefined;
}

/** Is a host's file system at this path? An image may have an empty directory for a mount that was forgotten. */
export function isHostRoot(path: string): boolean {
  return existsSync(join(path, 'etc'));
}

/** Has the first process of the machine the same root directory? In a container it has not, or is another one. */
function isHostItself({ proc }: Pick<HostRoots, 'proc'>): boolean {
  if (!seesMachine({ proc })) return false;
  try {
    const [theirs, ours] = ['1', 'self'].map((pid) => statSync(join(proc, pid, 'root/')));
    return theirs!.dev === ours!.dev && theirs!.ino === ours!.ino;
  } catch {
    return false;
  }
}
