/**
 * Which VPP is ours: written when it is started, read by the next life of this process to adopt it. A pid alone proves
 * nothing (it is reused), so the process's start time and the machine's boot id stand beside it.
 */
import { readFileSync } from 'node:fs';
import { removeIfExists, writeAtomic } from '../host/files.js';

export interface RunRecord {
  readonly version: 1;
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/<pid>/stat. */
  readonly start_time: string;
  readonly boot_id: string;
  readonly api_socket: string;
  /** Hash of the start-up file that it was started with. */
  readonly config_hash: string;
  /** Its clock is wrong, and it was kept all the same. */
  readonly clock?: 'kept';
}

/** Names this one process, as nothing else ever does. */
export function runIdentity({
  pid,
  start_time,
  boot_id,
}: Pick<RunRecord, 'pid' | 'start_time' | 'boot_id'>): string {
  return `${pid} ${start_time} ${boot_id}`;
}

/** The record, or why there is none that can be used. */
export function readRunRecord(path: string): RunRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const record = JSON.parse(text) as Partial<RunRecord>;
    const whole =
      record.version === 1 &&
      Number.isInteger(record.pid) &&
      typeof record.start_time === 'string' &&
      typeof record.boot_id === 'string' &&
      typeof record.api_socket === 'string' &&
      typeof record.config_hash === 'string';
    return whole ? (record as RunRecord) : undefined;
  } catch {
    return undefined;
  }
}

export function writeRunRecord(path: string, record: RunRecord): void {
  writeAtomic(path, `${JSON.stringify(record)}\n`, 0o600);
}

export function removeRunRecord(path: string): void {
  removeIfExists(path);
}
