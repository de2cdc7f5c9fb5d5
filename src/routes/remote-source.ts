/**
 * A source of routes that may begin anew: what it has told before stays until it has told all again. It tells one next hop after the other, too: a route
 * keeps those that it had. Pure.
 */
import type { RemoteRoute, RemoteRoutes } from '../messages/connectivity.js';

/** Where routes are kept as they were told. */
export interface ToldRoutes {
  readonly prefixes: () => Iterable<string>;
  /** Sorted. */
  readonly nextHops: (prefix: string) => readonly string[];
  /** None: there is no route. */
  readonly set: (prefix: string, next_hops: readonly string[]) => void;
}

const no_next_hops: readonly string[] = [];

export class RemoteSource {
  readonly #routes: ToldRoutes;
  readonly #narrow_ms: number;
  #synced = false;
  /** Told before the source began anew, and not since. */
  #old: Set<string> | undefined;
  /** Of these it has told fewer next hops since: what is to become of them. */
  readonly #narrower = new Map<string, readonly string[]>();
  /** Until when they wait. */
  #narrow_until_ms: number | undefined;

  /** `narrow_ms`: a next hop that is not told again holds so long beside one that is, counted from the first such. */
  constructor(routes: ToldRoutes, narrow_ms: number) {
    this.#routes = routes;
    this.#narrow_ms = narrow_ms;
  }

  get synced(): boolean {
    return this.#synced;
  }

  /** When `due` is to be called; undefined: nothing waits for it. */
  get due_ms(): number | undefined {
    return this.#narrower.size > 0 ? this.#narrow_until_ms : undefined;
  }

  /** Takes in what has changed. Answers pieces, between which others may have their turn. */
  *take(
    { begins, changed, synced }: Pick<RemoteRoutes, 'begins' | 'changed' | 'synced'>,
    piece: number,
    now_ms: number,
  ): Iterable<void> {
    if (begins) this.#begin();
    let left = piece;
    for (const [prefix, route] of changed) {
      this.#take(prefix, route, now_ms);
      left -= 1;
      if (left > 0) continue;
      left = piece;
      yield;
    }
    if (!synced) return;
    for (const prefix of this.#old ?? []) this.#routes.set(prefix, no_next_hops);
    this.#old = undefined;
    this.#narrow();
    this.#synced = true;
  }

  /** What has waited for long enough is as it was told. */
  due(now_ms: number): void {
    if (this.due_ms !== undefined && now_ms >= this.due_ms) this.#narrow();
  }

  /** What waits was told by a life that has not come to its end: it goes on to hold as it was. */
  #begin(): void {
    this.#narrower.clear();
    this.#narrow_until_ms = undefined;
    this.#synced = false;
    this.#old = new Set(this.#routes.prefixes());
  }

  #take(prefix: string, route: RemoteRoute | undefined, now_ms: number): void {
    const is_old = this.#old?.delete(prefix) === true;
    const has_waited = this.#narrower.delete(prefix);
    const next_hops = route?.next_hops ?? no_next_hops;
    if ((is_old || has_waited) && this.#waits(prefix, next_hops, now_ms)) return;
    this.#routes.set(prefix, next_hops);
  }

  /** Flows by the others need not move for a moment. One that was not there before is news that those know nothing of, and so is the route's end. */
  #waits(prefix: string, next_hops: readonly string[], now_ms: number): boolean {
    const before = this.#routes.nextHops(prefix);
    if (next_hops.length === 0 || next_hops.length >= before.length) return false;
    if (!next_hops.every((next_hop) => before.includes(next_hop))) return false;
    this.#narrow_until_ms ??= now_ms + this.#narrow_ms;
    if (now_ms >= this.#narrow_until_ms) return false;
    this.#narrower.set(prefix, next_hops);
    return true;
  }

  #narrow(): void {
    for (const [prefix, next_hops] of this.#narrower) this.#routes.set(prefix, next_hops);
    this.#narrower.clear();
    this.#narrow_until_ms = Number.NEGATIVE_INFINITY;
  }
}
