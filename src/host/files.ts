import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

/**
 * Small files that must survive a crash: after a function here has returned, its effect is on the disk, unless it says
 * otherwise.
 */

/**
 * Readers see the old content or the new one, never a part. Throws what the file system answers (ENOSPC, EROFS …);
 * the old content is then still there.
 */
export function writeAtomic(path: string, data: string | Uint8Array, mode = 0o644): void {
  replace(path, data, mode, fsyncSync);
  syncDirectory(dirname(path));
}

/** As writeAtomic, for what outlives this process but not the machine's boot: nothing waits for a disk. */
export function writeAtomicUnsynced(path: string, data: string | Uint8Array, mode = 0o644): void {
  replace(path, data, mode, () => {});
}

function replace(path: string, data: string | Uint8Array, mode: number, sync: (fd: number) => void): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const fd = openSync(temporary, 'w', mode);
    try {
      // The mode given to open passes through the umask and is ignored for a left-over file.
      fchmodSync(fd, mode);
      writeFileSync(fd, data);
      sync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** A new name, or a vanished one, is on the disk only when its directory is. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function makeDirectory(path: string, mode = 0o755): void {
  mkdirSync(path, { recursive: true, mode });
}

/** Undefined when there is no such file. */
export function readIfExists(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Was there such a file? */
export function removeIfExists(path: string): boolean {
  try {
    rmSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false;
    throw error;
  }
  syncDirectory(dirname(path));
  return true;
}

/** `ENOENT` and the like; also of NetlinkError and SystemCallError. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
