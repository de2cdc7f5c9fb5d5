import { closeSync } from 'node:fs';
import { errorCode } from './files.js';
import { onReadable, pidfdOpen, pidfdSendSignal } from './libc.js';

/** A process, child or not, held so that its number cannot come to mean another one. */
export interface HeldProcess {
  /** False when it has already exited. */
  signal(number: number): boolean;
  close(): void;
}

/**
 * Calls `on_exit` once, on the main thread, as soon as process `pid` has exited: no polling, and it need not be a child.
 * A child shows as exited although it was not yet waited for. Undefined when there is no such process (ESRCH).
 * Check its start time after this call: the number may have changed hands before it.
 */
export function watchExit(pid: number, on_exit: () => void): HeldProcess | undefined {
  const fd = openOrAbsent(pid);
  if (fd === undefined) return undefined;
  let open = true;
  const held: HeldProcess = {
    signal(number) {
      if (!open) return false;
      try {
        pidfdSendSignal(fd, number);
        return true;
      } catch (error) {
        if (isNoSuchProcess(error)) return false;
        throw error;
      }
    },
    close() {
      if (!open) return;
      open = false;
      poll.close();
      closeSync(fd);
    },
  };
  const poll = onReadable(fd, () => {
    if (!open) return;
    held.close();
    on_exit();
  });
  return held;
}

function openOrAbsent(pid: number): number | undefined {
  try {
    return pidfdOpen(pid);
  } catch (error) {
    if (isNoSuchProcess(error)) return undefined;
    throw error;
  }
}

function isNoSuchProcess(error: unknown): boolean {
  return errorCode(error) === 'ESRCH';
}
