import { closeSync, constants, copyFileSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { makeDirectory, readIfExists, removeIfExists, syncDirectory, writeAtomic } from '../files.js';
import { isKnownStep, survivesBoot, type UndoStep } from './undo-step.js';

/**
 * The undo journal: what must be undone is on the disk before the change is made. A file of JSON lines, the first a
 * header, each of the others a record; every line ends with the CRC-32 of its own text and stands for itself, so that damage
 * to one costs no other. Undoing takes the records in reverse order. A last line without its newline was never promised to
 * anybody: its change was not made.
 */

const FORMAT = 'calico-vpp-node undo journal';
const VERSION = 1;
const MODE = 0o600;
/** A take-over with a full set of routes is some 100 KB. */
const BYTES_MAX = 8 * 1024 * 1024;

/** The disk operations of the journal; each returns when its effect is durable. */
export interface JournalFiles {
  /** Undefined when there is no such file. */
  read(path: string): string | undefined;
  /** Whole content, atomically, with mode 0600. */
  replace(path: string, text: string): void;
  append(path: string, text: string): void;
  truncate(path: string, length_bytes: number): void;
  copy(path: string, to: string): void;
  remove(path: string): void;
}

/** Why a file could not be taken as it was, and where it is kept for a human to look at. */
export interface SetAside {
  readonly path: string;
  readonly reason: string;
  /** Steps that could still be read and are pending. 0: the host may have to be mended by hand. */
  readonly steps_kept: number;
}

export interface OpenedJournal {
  readonly journal: UndoJournal;
  readonly set_aside?: SetAside;
  /** False: there is no file, or it is not what was written. Steps may be lost. */
  readonly whole: boolean;
  /** Steps from before the machine was last started, dropped because the kernel has forgotten what they undo. */
  readonly dropped_steps: number;
}

interface Header {
  readonly format: string;
  readonly version: number;
  readonly boot_id: string;
  readonly created: string;
}

interface JournalRecord {
  readonly sequence: number;
  /** Absent in journals of earlier releases: that of the header. */
  readonly boot_id?: string;
  readonly steps: readonly UndoStep[];
}

/** The journal file cannot take a record: the change that it announces must not be made. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}

/**
 * Reads the journal of an earlier life of this process, or begins a new one. A damaged, foreign or newer file is kept
 * beside it, never just deleted, and each line of it that is what was written is used. On a full or read-only disk the pending steps
 * are still answered, and `record` throws; so it does where the file is there and cannot be read. `wall_ms` dates a new header.
 */
export function openJournal(
  path: string,
  boot_id: string,
  wall_ms: number,
  files: JournalFiles = durableFiles,
): OpenedJournal {
  const created = new Date(wall_ms).toISOString();
  const journal = new UndoJournal(path, files, { format: FORMAT, version: VERSION, boot_id, created });
  let text: string | undefined;
  try {
    text = files.read(path);
  } catch (error) {
    const reason = journal.refuse(error);
    return { journal, whole: false, set_aside: { path, reason, steps_kept: 0 }, dropped_steps: 0 };
  }
  if (text === undefined) return { journal, whole: false, dropped_steps: 0 };
  const { header, records, damage, good_text } = readJournal(text);
  const isOfThisBoot = (record: JournalRecord) => (record.boot_id ?? header?.boot_id ?? boot_id) === boot_id;
  if (damage === undefined && header?.boot_id === boot_id) {
    journal.resume(records, Buffer.byteLength(good_text), good_text.length < text.length);
    return { journal, whole: true, dropped_steps: 0 };
  }
  const steps = records.flatMap((record) => record.steps);
  const kept = records.flatMap((record) =>
    isOfThisBoot(record) ? record.steps : record.steps.filter(survivesBoot),
  );
  const dropped_steps = steps.length - kept.length;
  if (damage === undefined) {
    journal.restart(kept);
    return { journal, whole: true, dropped_steps };
  }
  const aside = `${path}.${wall_ms}.aside`;
  journal.restart(kept, () => files.copy(path, aside));
  return {
    journal,
    whole: false,
    set_aside: { path: aside, reason: damage, steps_kept: kept.length },
    dropped_steps,
  };
}

interface ReadJournal {
  readonly header?: Header;
  readonly records: readonly JournalRecord[];
  /** The text without a cut last line. */
  readonly good_text: string;
  /** Undefined: all lines are good, save perhaps a cut last one. */
  readonly damage?: string;
}

function readJournal(text: string): ReadJournal {
  const good_text = text.slice(0, text.lastIndexOf('\n') + 1);
  const [first, ...others] = good_text.split('\n').slice(0, -1).map(parseLine);
  const header = isHeader(first) ? first : undefined;
  // Without a header the first line may be a record as well.
  const lines = header ? others : [first, ...others];
  const read = lines.map(asRecord);
  const records = read.filter((record) => record !== undefined);
  const damage = damageOf(header, read);
  return { records, good_text, ...(header && { header }), ...(damage !== undefined && { damage }) };
}

function damageOf(
  header: Header | undefined,
  read: readonly (JournalRecord | undefined)[],
): string | undefined {
  if (!header) return 'it is not an undo journal of calico-vpp-node, or its first line is damaged';
  if (header.version !== VERSION)
    return `it has version ${header.version}, and this program reads ${VERSION}`;
  const at = read.findIndex((record, i) => record?.sequence !== i + 1);
  if (at >= 0) return `line ${at + 2} is damaged or out of order`;
  return undefined;
}

function isHeader(line: unknown): line is Header {
  return (line as Header | undefined)?.format === FORMAT;
}

/** Steps of a kind that only a later version knows cannot be taken: the line counts as damaged, and the others of it are kept. */
function asRecord(line: unknown): JournalRecord | undefined {
  const { sequence, boot_id, steps } = (line ?? {}) as Partial<JournalRecord>;
  if (!Array.isArray(steps)) return undefined;
  const known = steps.filter(isKnownStep);
  return {
    sequence: known.length === steps.length ? (sequence ?? 0) : 0,
    ...(boot_id !== undefined && { boot_id }),
    steps: known,
  };
}

const SEAL = /,"crc32":"([0-9a-f]{8})"\}$/;

/** The checksum is that of the text which it closes, so that no second JSON writer has to agree with the first. */
function sealLine(content: object): string {
  const text = JSON.stringify(content).slice(0, -1);
  return `${text},"crc32":"${checksum(text)}"}\n`;
}

/** Undefined when the line is not what was written. */
function parseLine(line: string): unknown {
  const seal = SEAL.exec(line);
  if (!seal || checksum(line.slice(0, seal.index)) !== seal[1]) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}

export class UndoJournal {
  readonly #path: string;
  readonly #files: JournalFiles;
  readonly #header: Header;
  #records: JournalRecord[] = [];
  #length_bytes = 0;
  /** Why nothing can be recorded: the file is not what it should be, and could not be mended. */
  #broken: string | undefined;
  #unreadable: string | undefined;

  constructor(path: string, files: JournalFiles, header: Header) {
    this.#path = path;
    this.#files = files;
    this.#header = header;
  }

  /** Goes on with the file as it is; `cut`: after taking half a line off its end. */
  resume(records: readonly JournalRecord[], length_bytes: number, cut: boolean): void {
    this.#records = [...records];
    this.#length_bytes = length_bytes;
    if (cut) this.#cutBack();
  }

  /** Begins the file anew with these steps, after `before` has been done. Failing that, they are pending all the same. */
  restart(steps: readonly UndoStep[], before: () => void = () => {}): void {
    this.#records = steps.length > 0 ? [this.#newRecord(1, steps)] : [];
    try {
      before();
      this.replace(steps);
    } catch (error) {
      this.#broken = error instanceof JournalError ? error.message : this.#failure('copy', error).message;
    }
  }

  /** The file is there and could not be read. Answers why, as everything will that would write it. */
  refuse(error: unknown): string {
    this.#unreadable = this.#failure('read', error).message;
    return this.#unreadable;
  }

  /**
   * Why the file could not be read, if so: what it holds is not known, and it is left as it is for whoever can read it, whatever becomes
   * pending here.
   */
  get unreadable(): string | undefined {
    return this.#unreadable;
  }

  /** All steps, oldest first. Undo takes them from the end. */
  pending(): UndoStep[] {
    return this.#records.flatMap((record) => record.steps);
  }

  /** Returns when the steps are on the disk. Throws JournalError otherwise: then do not make the change. */
  record(steps: readonly UndoStep[]): void {
    if (steps.length === 0) return;
    const broken = this.#unreadable ?? this.#broken;
    if (broken !== undefined) throw new JournalError(broken);
    if (this.#records.length === 0) {
      this.#write([this.#newRecord(1, steps)]);
      return;
    }
    const record = this.#newRecord(this.#records.length + 1, steps);
    const line = sealLine(record);
    const bytes = Buffer.byteLength(line);
    this.#checkSize(this.#length_bytes + bytes);
    try {
      this.#files.append(this.#path, line);
    } catch (error) {
      this.#cutBack();
      throw this.#failure('record', error);
    }
    this.#records.push(record);
    this.#length_bytes += bytes;
  }

  /** What could not be undone stays for the next attempt; with no steps, the file is removed. Throws JournalError. */
  replace(steps: readonly UndoStep[]): void {
    if (this.#unreadable !== undefined) throw new JournalError(this.#unreadable);
    if (steps.length > 0) {
      this.#write([this.#newRecord(1, steps)]);
      return;
    }
    try {
      this.#files.remove(this.#path);
    } catch (error) {
      throw this.#failure('remove', error);
    }
    this.#holds([], 0);
  }

  clear(): void {
    this.replace([]);
  }

  /**
   * These of the pending steps, the very same objects, have been taken. What was recorded since they were asked for stays. Throws
   * JournalError where the file cannot be changed; they stay pending then.
   */
  undone(steps: ReadonlySet<UndoStep>): void {
    const pending = this.pending();
    const left = pending.filter((step) => !steps.has(step));
    if (left.length < pending.length) this.replace(left);
  }

  #newRecord(sequence: number, steps: readonly UndoStep[]): JournalRecord {
    return { sequence, boot_id: this.#header.boot_id, steps };
  }

  #write(records: JournalRecord[]): void {
    const text = sealLine(this.#header) + records.map(sealLine).join('');
    const bytes = Buffer.byteLength(text);
    this.#checkSize(bytes);
    try {
      this.#files.replace(this.#path, text);
    } catch (error) {
      throw this.#failure('write', error);
    }
    this.#holds(records, bytes);
  }

  #holds(records: JournalRecord[], length_bytes: number): void {
    this.#records = records;
    this.#length_bytes = length_bytes;
    this.#broken = undefined;
  }

  #checkSize(bytes: number): void {
    if (bytes > BYTES_MAX)
      throw new JournalError(
        `undo journal ${this.#path} would exceed ${BYTES_MAX} bytes: restore the host first`,
      );
  }

  /** Half a line would swallow the next record. */
  #cutBack(): void {
    try {
      this.#files.truncate(this.#path, this.#length_bytes);
    } catch (error) {
      this.#broken = this.#failure('truncate', error).message;
    }
  }

  #failure(operation: string, cause: unknown): JournalError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new JournalError(`cannot ${operation} undo journal ${this.#path}: ${reason}`, { cause });
  }
}

export const durableFiles: JournalFiles = {
  read(path) {
    return readIfExists(path);
  },
  replace(path, text) {
    makeDirectory(dirname(path));
    writeAtomic(path, text, MODE);
  },
  append(path, text) {
    withFile(path, 'a', (fd) => {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    });
  },
  truncate(path, length_bytes) {
    withFile(path, 'r+', (fd) => ftruncateSync(fd, length_bytes));
  },
  copy(path, to) {
    copyFileSync(path, to, constants.COPYFILE_EXCL);
    withFile(to, 'r+', () => {});
    syncDirectory(dirname(to));
  },
  remove(path) {
    removeIfExists(path);
  },
};

function withFile(path: string, flags: string, run: (fd: number) => void): void {
  const fd = openSync(path, flags);
  try {
    run(fd);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
