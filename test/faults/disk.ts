import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Fills a file system to its last byte. Answers the file that does it. */
export function fill(directory: string): string {
  const path = join(directory, 'fills-the-disk');
  const fd = openSync(path, 'w');
  try {
    for (let size = 1 << 16; size >= 1; size >>= 1) {
      const block = Buffer.alloc(size);
      try {
        while (writeSync(fd, block) === size);
      } catch {
        // Full for blocks of this size.
      }
    }
  } finally {
    closeSync(fd);
  }
  return path;
}
