/** Shuts sockets of another process down, as a fault inside that process would: it keeps the descriptor and reads its end. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import koffi from 'koffi';

const PIDFD_OPEN = 434;
const PIDFD_GETFD = 438;
const SHUT_RDWR = 2;
/** SS_CONNECTED, as /proc/net/unix shows it. */
const connected = '03';

const program = koffi.load(null);
const syscall = program.func('syscall', 'long', ['long', 'long', 'long', 'long']);
const shutdown = program.func('shutdown', 'int', ['int', 'int']);
const close = program.func('close', 'int', ['int']);

/**
 * All connections that process `pid` has accepted from `client` on the Unix socket at this path. Answers how many. Linux
 * lists an accepted socket in the network namespace of the one that connected.
 */
export function shutAccepted(pid: number, client: number, path: string): number {
  const inodes = new Set(
    readFileSync(`/proc/${client}/net/unix`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((words) => words[5] === connected && words[7] === path)
      .map((words) => words[6]),
  );
  const pidfd = syscall(PIDFD_OPEN, pid, 0, 0);
  const sockets: number[] = [];
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
    if (inode === undefined || !inodes.has(inode)) continue;
    const own = syscall(PIDFD_GETFD, pidfd, Number(fd), 0);
    if (own >= 0) sockets.push(own);
  }
  close(pidfd);
  // Found first and shut then: at the end of one, its peer closes the others.
  const shut = sockets.filter((socket) => shutdown(socket, SHUT_RDWR) === 0).length;
  for (const socket of sockets) close(socket);
  return shut;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
