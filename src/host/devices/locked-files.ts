/**
 * Files of sysfs that the kernel shows, and takes, under the lock of their device: `driver_override`, `bind`, `unbind`, `sriov_numvfs`. Whoever binds or
 * unbinds a driver of the device holds that lock for as long as it takes, and who reads or writes meanwhile waits in the kernel, where nobody ends
 * him. So they are never read at once, only in a thread of the pool, and each file by one thread at a time.
 */
import { constants } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { Clock } from '../../clock.js';

/** What it takes to change a driver. */
export interface SysfsTools {
  readonly clock: Clock;
  /** Reads a file of sysfs. Absent: as it is. */
  readonly read?: (path: string) => Promise<string>;
  /** Writes to a file of sysfs that is there. Absent: as it is. */
  readonly write?: (path: string, value: string) => Promise<void>;
}

/** The device cannot be given another driver, for a reason that is for a person to mend. */
export class BindError extends Error {
  override readonly name = 'BindError';
}

/** The kernel is still at it: nothing of the device can be read or written until it is done. */
export class KernelBusy extends BindError {}

/** A kernel driver lets go of its device within a second or two; a card with firmware may take ten. */
const kernel_ms = 20_000;

/** By path, of this process: what has been asked for and has not come. */
const reading = new Map<string, Promise<string>>();
/** By device: what was written for it, and where. */
const writing = new Map<string, string>();

/** Its text without the end of the line. Undefined: there is no such file, or it cannot be read. Throws KernelBusy after 20 s. */
export async function readLocked(
  path: string,
  { clock, read = readText }: SysfsTools,
): Promise<string | undefined> {
  let answer = reading.get(path);
  if (answer === undefined) {
    answer = read(path).finally(() => reading.delete(path));
    reading.set(path, answer);
  }
  try {
    return (await within(clock, answer, `the kernel has not shown ${path}`)).trim();
  } catch (error) {
    if (error instanceof KernelBusy) throw error;
    return undefined;
  }
}

/** Throws KernelBusy while the kernel has not taken what was written for the device (the path of its directory) before: what it is like then is not to be told. */
export function mustBeDone(device: string): void {
  const before = writing.get(device);
  if (before !== undefined) throw new KernelBusy(`the kernel has not taken yet ${before}`);
}

/** Throws KernelBusy when the kernel has not taken it within 20 s, or not yet what was written for the device before; BindError when it refuses it. */
export async function writeLocked(
  device: string,
  path: string,
  value: string,
  { clock, write = writeText }: SysfsTools,
): Promise<void> {
  mustBeDone(device);
  const text = JSON.stringify(value.trim());
  writing.set(device, `${text} in ${path}`);
  const taken = write(path, value).finally(() => writing.delete(device));
  try {
    await within(clock, taken, `the kernel has not taken ${text} in ${path}`);
  } catch (error) {
    if (error instanceof BindError) throw error;
    const cause = error as Error;
    throw new BindError(`${path} does not take ${text}: ${cause.message}${hintOf(error)}`, { cause });
  }
}

async function within<T>(clock: Clock, promise: Promise<T>, what: string): Promise<T> {
  let late: { cancel(): void } | undefined;
  const limit = new Promise<never>((_, reject) => {
    late = clock.after(kernel_ms, () =>
      reject(
        new KernelBusy(
          `${what} within ${kernel_ms} ms: a driver of the device is being bound or unbound, see "dmesg" on the host`,
        ),
      ),
    );
  });
  // Behind the limit nobody asks for it any more.
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, limit]);
  } finally {
    late?.cancel();
  }
}

function hintOf(error: unknown): string {
  switch ((error as { code?: unknown } | null)?.code) {
    case 'EROFS':
    case 'EACCES':
      return '; mount /sys writable in the container';
    case 'EPERM':
      return '; the kernel is locked down (secure boot), or the container is not privileged';
    case 'EBUSY':
      return '; something else has it';
    case 'ENODEV':
      return '; the driver does not take this device: see "dmesg" on the host';
    default:
      return '';
  }
}

const readText = (path: string): Promise<string> => readFile(path, 'utf8');

/** For writing alone: sysfs lets nobody, root neither, read `bind` and `unbind`, and refuses to open them for both (EACCES). */
const writeText = (path: string, value: string): Promise<void> =>
  writeFile(path, value, { flag: constants.O_WRONLY });
