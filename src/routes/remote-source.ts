/** A source of routes that may begin anew: what it has told before stays until it has told all again. */
import type { RemoteRoutes } from '../messages/connectivity.js';

export class RemoteSource {
  #synced = false;
  /** Told before the source began anew, and not since. */
  #old: Set<string> | undefined;

  get synced(): boolean {
    return this.#synced;
  }

  /**
   * Takes in what has changed: `set` has a route set, or removed. `known`: all prefixes that have one. Answers pieces, between which others
   * may have their turn.
   */
  *take(
    { begins, changed, synced }: Pick<RemoteRoutes, 'begins' | 'changed' | 'synced'>,
    known: () => Iterable<string>,
    set: (prefix: string, next_hop: string | undefined) => void,
    piece: number,
  ): Iterable<void> {
    if (begins) {
      this.#synced = false;
      this.#old = new Set(known());
    }
    let left = piece;
    for (const [prefix, route] of changed) {
      this.#old?.delete(prefix);
      set(prefix, route?.next_hop);
      left -= 1;
      if (left > 0) continue;
      left = piece;
      yield;
    }
    if (!synced) return;
    for (const prefix of this.#old ?? []) set(prefix, undefined);
    this.#old = undefined;
    this.#synced = true;
  }
}
