/**
 * Readings of VPP, one at a time. A reading shows things as they are at some time after it was asked for: who asks for the same
 * before it has begun gets the same one.
 */
import type { Scope, Snapshot } from '../reconcile/snapshot.js';

export class Readings {
  readonly #read: (scopes: readonly Scope[]) => Promise<Snapshot>;
  /** Asked for and not begun, by their scopes: at most one for each set of these. */
  readonly #waiting = new Map<string, Promise<Snapshot>>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(read: (scopes: readonly Scope[]) => Promise<Snapshot>) {
    this.#read = read;
  }

  read(scopes: readonly Scope[]): Promise<Snapshot> {
    const key = [...scopes].sort().join(' ');
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) return waiting;
    const reading = this.#last.then(() => {
      this.#waiting.delete(key);
      return this.#read(scopes);
    });
    this.#waiting.set(key, reading);
    this.#last = reading.catch(() => undefined);
    return reading;
  }
}
