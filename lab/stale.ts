/** What labs of processes that are gone have left: processes, namespaces, directories. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unmount } from '../src/host/libc.js';
import { LinuxHost } from '../src/host/netlink/linux-host.js';

/** The directories of labs, their own and those of the nodes that ran in them, have this form. */
const lab_directory = /^cvn-(\d+)-/;

/** Removes all of it. */
export function removeStale(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = lab_directory.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const directory = join(tmpdir(), name);
    endAllOf(directory);
    const host = new LinuxHost(directory);
    for (const file of readdirSync(directory)) {
      if (host.exists(join(directory, file))) host.removeNamed(file);
    }
    for (const path of ['run', 'state', '.'].map((inside) => join(directory, inside))) {
      try {
        unmount(path);
      } catch {
        // It never became a mount point.
      }
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Ends the processes that have a path below the directory on their command line or in their environment: only a lab's have. */
function endAllOf(directory: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    try {
      const words = ['cmdline', 'environ'].flatMap((file) =>
        readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0'),
      );
      if (words.some((word) => word.includes(`${directory}/`))) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}
