/** Where WireGuard's peers are: one at each end. Pure. */
import type { ObjectKey } from '../objects/object.js';

/** An end is an address. */
export class PeerEnds {
  /** Also those that an earlier life has left, by their endpoints. */
  readonly #peer_at = new Map<string, ObjectKey>();
  /** The endpoint of each of those. */
  readonly #ends = new Map<ObjectKey, string>();

  /** The peer that is there. */
  at(end: string): ObjectKey | undefined {
    return this.#peer_at.get(end);
  }

  take(key: ObjectKey, end: string): void {
    this.leave(key);
    this.#ends.delete(this.#peer_at.get(end) ?? '');
    this.#peer_at.set(end, key);
    this.#ends.set(key, end);
  }

  leave(key: ObjectKey): void {
    const end = this.#ends.get(key);
    if (end === undefined) return;
    this.#ends.delete(key);
    this.#peer_at.delete(end);
  }
}
