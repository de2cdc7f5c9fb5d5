/** The files of registry and quarantine, kept in memory. */
import type { QuarantineFile } from '../src/vpp-conn/quarantine.js';
import type { RegistryFile } from '../src/vpp-conn/registry.js';

export function memoryFile(text?: string): RegistryFile & QuarantineFile {
  let content = text;
  return {
    read: () => content,
    replace(whole) {
      content = whole;
    },
    append(more) {
      content = `${content ?? ''}${more}`;
    },
    write(whole) {
      content = whole;
    },
  };
}
