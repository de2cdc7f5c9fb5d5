/** Where registry and quarantine lie on disk. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { readIfExists, removeIfExists, writeAtomicUnsynced } from '../host/files.js';
import type { QuarantineFile } from './quarantine.js';
import type { RegistryFile } from './registry.js';

/** Appended without waiting for a disk: it outlives this process, and VPP does not outlive the machine. */
export function registryFile(path: string): RegistryFile {
  let fd: number | undefined;
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  return {
    read: () => readIfExists(path),
    replace(text) {
      close();
      if (text === undefined) removeIfExists(path);
      else writeAtomicUnsynced(path, text, 0o600);
    },
    append(text) {
      fd ??= openSync(path, 'a', 0o600);
      const written = writeSync(fd, text);
      if (written < Buffer.byteLength(text)) throw new Error(`${path}: only ${written} bytes were written`);
    },
  };
}

/** It has to outlive this process, not a power cut: after that nothing is suspect. */
export function quarantineFile(path: string): QuarantineFile {
  return {
    read: () => readIfExists(path),
    write: (text) => writeAtomicUnsynced(path, text, 0o600),
  };
}
