/**
 * Readings of VPP, one at a time. A reading shows things as they are at some time after it was asked for: who asks for the same
 * before it has begun gets the same one.
 */
import type { Scope, Snapshot, Take } from '../reconcile/snapshot.js';

export class Readings {
  readonly #read: (scopes: readonly Scope[], take?: Take) => Promise<Snapshot>;
  /** Asked for and not begun, by their scopes: for each set of these at most one, and one for those who take objects as they come. */
  readonly #waiting = new Map<string, { readonly takers: Take[]; readonly reading: Promise<Snapshot> }>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(read: (scopes: readonly Scope[], take?: Take) => Promise<Snapshot>) {
    this.#read = read;
  }

  read(scopes: readonly Scope[], take?: Take): Promise<Snapshot> {
    const key = [...scopes].sort().join(' ') + (take === undefined ? '' : ', taken');
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      if (take !== undefined) waiting.takers.push(take);
      return waiting.reading;
    }
    const takers = take === undefined ? [] : [take];
    const all: Take = (object) => {
      for (const each of takers) each(object);
    };
    const reading = this.#last.then(() => {
      this.#waiting.delete(key);
      return this.#read(scopes, take === undefined ? undefined : all);
    });
    this.#waiting.set(key, { takers, reading });
    this.#last = reading.catch(() => undefined);
    return reading;
  }
}
