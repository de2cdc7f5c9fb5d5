import { join } from 'node:path';
import { readIfExists } from '../files.js';
import { HOST_ROOTS, type HostRoots } from './sysfs.js';

/** Processes killed for want of memory so far. Undefined: the kernel does not tell. Never throws. */
export type OomCounter = () => number | undefined;

/**
 * Counts the processes of `pid`'s memory cgroup that the kernel has killed for want of memory, of the cgroup's own limit or of the
 * machine's memory: `oom_kill` of memory.events (cgroup v2) or of memory.oom_control (v1). Without either (a kernel without that
 * controller, no view of it) the machine's own counter in /proc/vmstat, which a kill of anybody else makes grow, too.
 * Made while the process lives; it can be read after its end.
 */
export function oomCounter(pid: number, roots: HostRoots = HOST_ROOTS): OomCounter {
  const cgroups = readOrAbsent(join(roots.proc, String(pid), 'cgroup')) ?? '';
  const places = [...counterFiles(cgroups, roots), join(roots.proc, 'vmstat')];
  const place = places.find((path) => countIn(path) !== undefined);
  return () => (place === undefined ? undefined : countIn(place));
}

/**
 * A line is `id:controllers:path`. In a container the path may be that of the machine's tree while /sys/fs/cgroup is the container's
 * part of it: then what counts stands at the top.
 */
function counterFiles(cgroups: string, { sys }: HostRoots): string[] {
  return cgroups.split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    const [root, file] =
      controllers === ''
        ? [join(sys, 'fs/cgroup'), 'memory.events']
        : [join(sys, 'fs/cgroup/memory'), 'memory.oom_control'];
    if (controllers !== '' && !controllers.split(',').includes('memory')) return [];
    return [join(root, path, file), join(root, file)];
  });
}

function countIn(path: string): number | undefined {
  const count = /^oom_kill (\d+)$/m.exec(readOrAbsent(path) ?? '')?.[1];
  return count === undefined ? undefined : Number(count);
}

/** A cgroup vanishes with its last process, and a process in the middle of being read. */
function readOrAbsent(path: string): string | undefined {
  try {
    return readIfExists(path);
  } catch {
    return undefined;
  }
}
