/**
 * Finds and opens VPP's stats segment by way of procfs: a memfd that VPP holds open. Needs no socket, which hands the file on by a kind of message
 * that Node cannot receive, and no native code; but VPP's pid, its PID namespace, and the right to look at it.
 */
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import type { SegmentSource } from './segment.js';

/** What the link in /proc/<pid>/fd says, also with hugepages. */
const link_text = '/memfd:stat segment (deleted)';

/** More is not asked for at once, whatever a length says. */
const segment_bytes_max = 2 ** 32;

/** The segment of a VPP that may die: what it holds is then still there, and never changes again. */
export class SegmentFile implements SegmentSource {
  readonly #fd: number;
  readonly #path: string;
  readonly #inode: bigint;
  readonly size: number;

  private constructor(
    readonly pid: number,
    path: string,
  ) {
    this.#path = path;
    this.#fd = openSync(path, 'r');
    const { ino, size } = fstatSync(this.#fd, { bigint: true });
    this.#inode = ino;
    this.size = Number(size);
  }

  /** Of the process with this pid. Throws with the reason where there is none to be had. */
  static open(pid: number, proc = '/proc'): SegmentFile {
    const directory = `${proc}/${pid}/fd`;
    for (const fd of readdirSync(directory)) {
      const path = `${directory}/${fd}`;
      if (linkAt(path) !== link_text) continue;
      const file = new SegmentFile(pid, path);
      if (file.size > 0 && file.size <= segment_bytes_max) return file;
      file.close();
    }
    throw new Error(`process ${pid} has no stats segment`);
  }

  /** VPP has it open still: it lives. A zombie has nothing open. */
  get isLive(): boolean {
    try {
      return statSync(this.#path, { bigint: true }).ino === this.#inode;
    } catch {
      return false;
    }
  }

  readonly read = (offset: number, length: number): Buffer | undefined => {
    if (offset < 0 || length < 0 || offset + length > this.size) return undefined;
    const bytes = Buffer.allocUnsafe(length);
    try {
      for (let done = 0; done < length; ) {
        const n = readSync(this.#fd, bytes, done, length - done, offset + done);
        if (n === 0) return undefined;
        done += n;
      }
    } catch {
      return undefined;
    }
    return bytes;
  };

  close(): void {
    closeSync(this.#fd);
  }
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // Closed between readdir and here.
    return undefined;
  }
}
