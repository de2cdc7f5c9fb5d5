/**
 * What no dump of VPP shows, on disk: the objects of such kinds that were programmed into one VPP. Lines are appended before a
 * request leaves and when it is answered, so that a fresh process knows at worst that an object may be there; it is then added
 * again, which these kinds bear. The file is bound to the VPP it was written for: it says nothing of another one.
 *
 * What a dump shows to be ours only a moment after it was made, a tunnel, is in it for that moment. Of what a dump shows but for a part
 * (the hash of a translation) that part is in it.
 *
 *   {"vpp":"<pid> <start time> <boot id>"}      first line
 *   ["?", key, object]                          on its way in or out
 *   ["+", key]                                  VPP has it
 *   ["-", key]                                  VPP has it no more
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { ObjectKey, VppObject } from '../objects/object.js';
import {
  hidesPart,
  interfaceMade,
  interfacesUsed,
  isAnnounced,
  isRecorded,
  keyOf,
  partRecorded,
} from '../objects/object.js';

export interface RecordedObject {
  readonly object: VppObject;
  /** False: on its way when the last word was written. */
  readonly sure: boolean;
}

/** The word that an object is about to be added or removed, and what was known before it. */
export interface Started {
  readonly word: RecordedObject;
  readonly before: RecordedObject | undefined;
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
  /** That it speaks of: pid, start time and boot. */
  readonly vpp: string;
  readonly #objects = new Map<ObjectKey, RecordedObject>();
  #lines = 0;
  /** The file could not be written: it is gone, and a later process adds all that it does not know of. */
  #lost = false;
  /** Interfaces that were made since words were lost; undefined: none were lost. */
  readonly #made_since: Set<InterfaceTag> | undefined;

  /**
   * The registry of this VPP: empty where the file is another's, damaged from where it is. `vpp`: pid, start time and boot. A file that
   * is good is left as it is: to read it no room is needed on the disk.
   */
  constructor(file: RegistryFile, vpp: string) {
    this.#file = file;
    this.vpp = vpp;
    const [head, ...lines] = (readable(file) ?? '').split('\n');
    const good = head === headOf(vpp) && this.#replayAll(lines);
    this.#lines = lines.length;
    this.#made_since = good ? undefined : new Set();
    if (!good || this.#tooLong) this.#rewrite();
  }

  /**
   * VPP has this, by what it shows of something else, on an interface that it has from before words were lost: it is written down, where it
   * was not known for sure.
   */
  presume(object: VppObject): void {
    const made_since = this.#made_since;
    if (made_since === undefined || interfacesUsed(object).some((tag) => made_since.has(tag))) return;
    const key = keyOf(object);
    const known = this.#objects.get(key);
    if (known?.sure) return;
    this.#append(['?', key, known?.object ?? object]);
    this.#set(key, { object: known?.object ?? object, sure: true });
  }

  list(): readonly RecordedObject[] {
    return [...this.#objects.values()].filter(({ object }) => isRecorded(object));
  }

  /** What was about to be made, and may be there without a sign of whose it is. */
  announced(): readonly VppObject[] {
    return [...this.#objects.values()].flatMap(({ object }) => (isAnnounced(object) ? object : []));
  }

  /** What is known of an object beside what a dump shows of it. */
  partOf(shown: VppObject): RecordedObject | undefined {
    return this.#objects.size === 0 ? undefined : this.#objects.get(keyOf(shown));
  }

  /** It is about to be added or removed. Objects of which dumps show all are passed over. */
  begins(whole: VppObject): Started | undefined {
    const object = this.#kept(whole);
    if (object === undefined) return undefined;
    const key = keyOf(object);
    const before = this.#objects.get(key);
    const started = { word: { object, sure: false }, before };
    this.#objects.set(key, started.word);
    this.#append(['?', key, object]);
    return started;
  }

  /** As it is written down. An object that is shown whole by now, and of which there was more to be known, is kept till that is over. */
  #kept(object: VppObject): VppObject | undefined {
    if (isRecorded(object) || isAnnounced(object)) return object;
    if (!hidesPart(object) && (this.#objects.size === 0 || !this.#objects.has(keyOf(object))))
      return undefined;
    return partRecorded(object);
  }

  /**
   * VPP has done it. With an interface goes what was set on it, and a new one has nothing of that. Where the object is on its way
   * again meanwhile, it is the last word that counts.
   */
  done(action: 'add' | 'remove', object: VppObject, started?: Started): void {
    const tag = object.kind === 'existing_interface' ? undefined : interfaceMade(object);
    if (tag !== undefined) {
      if (action === 'add') this.#made_since?.add(tag);
      else this.#made_since?.delete(tag);
      for (const [key, recorded] of this.#objects) {
        if (interfacesUsed(recorded.object).includes(tag)) this.#set(key, undefined);
      }
    }
    const kept = this.#kept(object);
    if (kept === undefined || this.#isStale(object, started)) return;
    const stays = action === 'add' && (isRecorded(object) || hidesPart(object));
    this.#set(keyOf(object), stays ? { object: kept, sure: true } : undefined);
  }

  /** VPP has refused it: all is as it was before. */
  refused(object: VppObject, started: Started | undefined): void {
    if (started === undefined || this.#isStale(object, started)) return;
    const key = keyOf(object);
    const { before } = started;
    if (before === undefined) return this.#set(key, undefined);
    this.#objects.set(key, { ...before, sure: false });
    if (before.object !== object) this.#append(['?', key, before.object]);
    if (before.sure) this.#set(key, before);
  }

  #isStale(object: VppObject, started: Started | undefined): boolean {
    return started !== undefined && this.#objects.get(keyOf(object)) !== started.word;
  }

  /** What is there for sure, or is not there. */
  #set(key: ObjectKey, recorded: RecordedObject | undefined): void {
    if (recorded === undefined) this.#objects.delete(key);
    else this.#objects.set(key, recorded);
    this.#append([recorded === undefined ? '-' : '+', key]);
  }

  /**
   * The last line may be cut: its request had not left yet, or its answer is not known. After any other damage, and after what another
   * release of this product has written in its own way, nothing is sure. True: every line is whole, and more can be appended.
   */
  #replayAll(lines: readonly string[]): boolean {
    const damaged = lines.slice(0, -1).filter((line) => !this.#replay(line));
    const end = lines.at(-1) ?? 'the first line is cut';
    if (end !== '') this.#replay(end);
    if (damaged.length === 0) return end === '';
    for (const [key, recorded] of this.#objects) this.#objects.set(key, { ...recorded, sure: false });
    return false;
  }

  #replay(line: string): boolean {
    try {
      const [sign, key, object] = JSON.parse(line) as [string, ObjectKey, VppObject];
      const known = this.#objects.get(key);
      // Throws where the kind is none of ours.
      if (sign === '?' && mayBeKept(object) && keyOf(object) === key) {
        this.#objects.set(key, { object, sure: false });
      } else if (sign === '-') this.#objects.delete(key);
      else if (sign === '+' && known !== undefined) this.#objects.set(key, { ...known, sure: true });
      else return false;
      return true;
    } catch {
      return false;
    }
  }

  #append(line: unknown): void {
    if (this.#lost) return;
    this.#lines += 1;
    if (this.#tooLong) return this.#rewrite();
    this.#try(() => this.#file.append(`${JSON.stringify(line)}\n`));
  }

  get #tooLong(): boolean {
    return this.#lines > 4 * this.#objects.size + lines_spare;
  }

  #rewrite(): void {
    const lines = [...this.#objects].flatMap(([key, { object, sure }]) => [
      JSON.stringify(['?', key, object]),
      ...(sure ? [JSON.stringify(['+', key])] : []),
    ]);
    this.#lines = lines.length;
    this.#try(() => this.#file.replace(`${[headOf(this.vpp), ...lines].join('\n')}\n`));
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

const mayBeKept = (object: VppObject): boolean =>
  isRecorded(object) || isAnnounced(object) || partRecorded(object) !== undefined;

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
