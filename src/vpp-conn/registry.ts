/**
 * What no dump of VPP shows, on disk: the objects of such kinds that were programmed into one VPP. Lines are appended before a
 * request leaves and when it is answered, so that a fresh process knows at worst that an object may be there; it is then added
 * again, which these kinds bear. The file is bound to the VPP it was written for: it says nothing of another one.
 *
 *   {"vpp":"<pid> <start time> <boot id>"}      first line
 *   ["?", key, object]                          on its way in or out
 *   ["+", key]                                  VPP has it
 *   ["-", key]                                  VPP has it no more
 */
import type { ObjectKey, VppObject } from '../objects/object.js';
import { interfaceMade, interfacesUsed, isRecorded, keyOf } from '../objects/object.js';

export interface RecordedObject {
  readonly object: VppObject;
  /** False: on its way when the last word was written. */
  readonly sure: boolean;
}

/** Where the lines go. Both throw when they cannot. */
export interface RegistryFile {
  read(): string | undefined;
  /** Replaces the content, or removes the file. */
  replace(text: string | undefined): void;
  append(text: string): void;
}

/** Beyond this the file is written anew with what is there: it grows with changes, not with objects. */
const lines_spare = 4096;

export class Registry {
  readonly #file: RegistryFile;
  readonly #vpp: string;
  readonly #objects = new Map<ObjectKey, RecordedObject>();
  #lines = 0;
  /** The file could not be written: it is gone, and a later process adds all that it does not know of. */
  #lost = false;

  /** The registry of this VPP: empty where the file is another's, damaged from where it is. `vpp`: pid, start time and boot. */
  constructor(file: RegistryFile, vpp: string) {
    this.#file = file;
    this.#vpp = vpp;
    const [head, ...lines] = (readable(file) ?? '').split('\n');
    if (head === headOf(vpp)) this.#replayAll(lines);
    this.#rewrite();
  }

  list(): readonly RecordedObject[] {
    return [...this.#objects.values()];
  }

  /** It is about to be added or removed. Objects that dumps show are passed over. */
  begins(object: VppObject): void {
    if (!isRecorded(object)) return;
    const key = keyOf(object);
    this.#objects.set(key, { object, sure: false });
    this.#append(['?', key, object]);
  }

  /** VPP has done it. With an interface goes what was set on it. */
  done(action: 'add' | 'remove', object: VppObject): void {
    const gone = action === 'remove' ? interfaceMade(object) : undefined;
    if (gone !== undefined) {
      for (const [key, recorded] of this.#objects) {
        if (!interfacesUsed(recorded.object).includes(gone)) continue;
        this.#objects.delete(key);
        this.#append(['-', key]);
      }
    }
    if (!isRecorded(object)) return;
    const key = keyOf(object);
    if (action === 'add') this.#objects.set(key, { object, sure: true });
    else this.#objects.delete(key);
    this.#append([action === 'add' ? '+' : '-', key]);
  }

  /** The last line may be cut: its request had not left yet, or its answer is not known. After any other damage nothing is sure. */
  #replayAll(lines: readonly string[]): void {
    const read = lines.findIndex((line) => !this.#replay(line));
    if (read === -1 || read >= lines.length - 1) return;
    for (const [key, recorded] of this.#objects) this.#objects.set(key, { ...recorded, sure: false });
  }

  #replay(line: string): boolean {
    try {
      const [sign, key, object] = JSON.parse(line) as [string, ObjectKey, VppObject];
      const known = this.#objects.get(key);
      if (sign === '?') this.#objects.set(key, { object, sure: false });
      else if (sign === '-') this.#objects.delete(key);
      else if (known !== undefined) this.#objects.set(key, { ...known, sure: true });
      return true;
    } catch {
      return false;
    }
  }

  #append(line: unknown): void {
    if (this.#lost) return;
    this.#lines += 1;
    if (this.#lines > 2 * this.#objects.size + lines_spare) return this.#rewrite();
    this.#try(() => this.#file.append(`${JSON.stringify(line)}\n`));
  }

  #rewrite(): void {
    const lines = [...this.#objects].flatMap(([key, { object, sure }]) => [
      JSON.stringify(['?', key, object]),
      ...(sure ? [JSON.stringify(['+', key])] : []),
    ]);
    this.#lines = lines.length;
    this.#try(() => this.#file.replace(`${[headOf(this.#vpp), ...lines].join('\n')}\n`));
  }

  /** An old word is worse than none: what it calls there may have been taken away since. */
  #try(write: () => void): void {
    try {
      write();
    } catch {
      this.#lost = true;
      try {
        this.#file.replace(undefined);
      } catch {
        // It cannot be removed either: its head is another VPP's as soon as this one dies.
      }
    }
  }
}

function headOf(vpp: string): string {
  return JSON.stringify({ vpp });
}

function readable(file: RegistryFile): string | undefined {
  try {
    return file.read();
  } catch {
    return undefined;
  }
}
