/**
 * The pods of this node on disk: one file per pod interface, so that a damaged file costs one pod and a change writes one
 * pod. Calls are synchronous, and what they have done outlives this process, but not the machine's boot: nor do the
 * interfaces that the records describe, so that no ADD has to wait for a disk.
 */
import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, makeDirectory, writeAtomicUnsynced } from '../host/files.js';
import {
  type DecodedRecord,
  decodeRecord,
  encodeRecord,
  type PodRecord,
  recordFileName,
} from '../pod/record.js';
import type { PodKey } from '../pod/spec.js';

/** The file operations that the state needs. All throw what the file system answers. */
export interface StateFiles {
  makeDirectory(path: string, mode: number): void;
  list(directory: string): readonly string[];
  read(path: string): string;
  /** Readers see the old content or the new one; the old content stays when it throws. */
  write(path: string, data: string, mode: number): void;
  rename(from: string, to: string): void;
  /** No error when there is no such file. */
  remove(path: string): void;
}

const disk: StateFiles = {
  makeDirectory,
  list: (directory) => readdirSync(directory),
  read: (path) => readFileSync(path, 'utf8'),
  write: writeAtomicUnsynced,
  rename: renameSync,
  remove: (path) => rmSync(path, { force: true }),
};

export interface PodStateProblem {
  readonly file: string;
  readonly fault: Extract<DecodedRecord, { fault: string }>['fault'] | 'unreadable';
  /** What is wrong and what was done about it. */
  readonly text: string;
}

/** A record could not be written or removed. `message` names pod, path, cause and step; the caller must not go on. */
export class PodStateError extends Error {
  override readonly name = 'PodStateError';
  constructor(
    readonly key: PodKey,
    path: string,
    what: 'written' | 'removed',
    override readonly cause: unknown,
  ) {
    super(`the state of ${key} cannot be ${what} (${path}): ${describe(cause)}: ${step(cause)}`);
  }
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function step(cause: unknown): string {
  switch (errorCode(cause)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'free space on that file system, then the pod is retried';
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return 'make that directory writable';
    default:
      return 'check that file system';
  }
}

/** Files kept for inspection; beyond this number bad ones are removed. */
const bad_files_max = 16;
const record_mode = 0o600;
const directory_mode = 0o700;

export class PodState {
  readonly #directory: string;
  readonly #files: StateFiles;

  /** @param directory created by `load`; nothing else may be kept in it. */
  constructor(directory: string, files: StateFiles = disk) {
    this.#directory = directory;
    this.#files = files;
  }

  /** Writes the record of one pod, replacing an earlier one of the same key. Throws PodStateError. */
  put(record: PodRecord): void {
    const path = this.#path(record.spec.key);
    const write = (): void => this.#files.write(path, encodeRecord(record), record_mode);
    try {
      try {
        write();
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
        // Somebody has removed the directory.
        this.#files.makeDirectory(this.#directory, directory_mode);
        write();
      }
    } catch (error) {
      throw new PodStateError(record.spec.key, path, 'written', error);
    }
  }

  /** See PodStore. */
  mend(records: Iterable<PodRecord>): number {
    let missing = 0;
    this.#attempt(() => {
      this.#files.makeDirectory(this.#directory, directory_mode);
      const there = new Set(this.#files.list(this.#directory));
      for (const record of records) {
        if (there.has(recordFileName(record.spec.key))) continue;
        missing += 1;
        this.put(record);
      }
    });
    return missing;
  }

  /** Idempotent. Throws PodStateError. */
  remove(key: PodKey): void {
    const path = this.#path(key);
    try {
      this.#files.remove(path);
    } catch (error) {
      throw new PodStateError(key, path, 'removed', error);
    }
  }

  /**
   * Reads every record. A file that cannot be used is reported, and the others are not affected. One that is damaged is set aside as
   * `*.bad`; what is not ours, or of a later release, is left where it is.
   * Throws only when the directory itself cannot be made or listed.
   */
  load(): { readonly records: readonly PodRecord[]; readonly problems: readonly PodStateProblem[] } {
    this.#files.makeDirectory(this.#directory, directory_mode);
    const names = [...this.#files.list(this.#directory)].sort();
    const records: PodRecord[] = [];
    const problems: PodStateProblem[] = [];
    let bad_files = names.filter((name) => name.endsWith('.bad')).length;
    for (const file of names) {
      if (file.endsWith('.bad')) continue;
      if (file.endsWith('.tmp')) {
        this.#attempt(() => this.#files.remove(join(this.#directory, file)));
        continue;
      }
      const loaded = this.#read(file);
      if ('ok' in loaded) records.push(loaded.ok);
      else if (loaded.fault !== 'corrupt')
        problems.push({ file, fault: loaded.fault, text: `${loaded.text}; left in place` });
      else {
        const outcome = this.#setAside(file, bad_files < bad_files_max);
        bad_files++;
        problems.push({ file, fault: loaded.fault, text: `${loaded.text}; ${outcome}` });
      }
    }
    return { records, problems };
  }

  #read(file: string): DecodedRecord | { readonly fault: 'unreadable'; readonly text: string } {
    let text: string;
    try {
      text = this.#files.read(join(this.#directory, file));
    } catch (error) {
      return { fault: 'unreadable', text: `cannot be read (${describe(error)})` };
    }
    return decodeRecord(text, file);
  }

  #setAside(file: string, keep: boolean): string {
    const path = join(this.#directory, file);
    const failure = this.#attempt(() => {
      if (keep) this.#files.rename(path, `${path}.bad`);
      else this.#files.remove(path);
    });
    if (failure !== undefined) return `left in place (${failure})`;
    return keep ? `set aside as ${file}.bad` : `removed, as ${bad_files_max} bad files are kept already`;
  }

  /** What went wrong, if anything did: tidying up must not keep the other pods from being read. */
  #attempt(run: () => void): string | undefined {
    try {
      run();
      return undefined;
    } catch (error) {
      return describe(error);
    }
  }

  #path(key: PodKey): string {
    return join(this.#directory, recordFileName(key));
  }
}
