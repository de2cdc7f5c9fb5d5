import { codeOf } from './errors.js';
import { Ring } from './ring.js';
import type { ErrorNote } from './types.js';

const ERRORS_KEPT = 20;

export interface ErrorEntry {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly incarnation: number;
  readonly stack: string;
}

/** An actor's errors for people: how many there were, the last one, and the last twenty in full. */
export class ErrorLog {
  count = 0;
  last: ErrorNote | undefined;
  #entries: Ring<ErrorEntry> | undefined;

  keep(error: Error, at: number, incarnation: number): void {
    const code = codeOf(error);
    const { last } = this;
    const same = last?.message === error.message && last.code === code;
    this.count += 1;
    this.last = {
      message: error.message,
      code,
      count: same ? last.count + 1 : 1,
      firstAt: same ? last.firstAt : at,
      lastAt: at,
    };
    this.#entries ??= new Ring(ERRORS_KEPT);
    this.#entries.push({ at, incarnation, stack: error.stack ?? error.message });
  }

  /** Oldest first. */
  entries(): ErrorEntry[] {
    return this.#entries?.toArray() ?? [];
  }
}
