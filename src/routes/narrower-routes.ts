/**
 * Routes that an earlier life has left with more next hops than they are told with. Who tells begins anew as well, and tells one of them after the other:
 * flows by the others need not move for a moment.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ObjectKey, VppObject } from '../objects/object.js';
import type { Route } from '../objects/routing.js';

export class NarrowerRoutes {
  readonly #waiting = new Map<ObjectKey, Route>();
  readonly #for_ms: number;
  /** Until when they wait, counted from the first of them. */
  #until_ms: number | undefined;

  constructor(for_ms: number) {
    this.#for_ms = for_ms;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** When those that wait are to be looked at; undefined: none does. */
  get next_ms(): number | undefined {
    return this.#waiting.size === 0 ? undefined : this.#until_ms;
  }

  /** It is wanted otherwise, or no more. */
  forget(key: ObjectKey): void {
    this.#waiting.delete(key);
  }

  /** `left`: as the earlier life has left it. True: it waits. */
  waits(key: ObjectKey, route: Route, left: VppObject | undefined, now_ms: number): boolean {
    const until_ms = this.#until_ms ?? now_ms + this.#for_ms;
    if (now_ms >= until_ms || !isNarrower(route, left)) return false;
    this.#until_ms = until_ms;
    this.#waiting.set(key, route);
    return true;
  }

  /** Their time is over. */
  isDue(now_ms: number): boolean {
    return this.#until_ms !== undefined && now_ms >= this.#until_ms;
  }

  /** All that wait; from now on none does. To be wanted by whoever asks, who forgets them so. */
  end(): readonly Route[] {
    this.#until_ms = Number.NEGATIVE_INFINITY;
    return [...this.#waiting.values()];
  }
}

/** It leads by some of the paths of the other one, and by no others. */
function isNarrower({ paths }: Route, before: VppObject | undefined): boolean {
  if (before?.kind !== 'route' || paths.length >= before.paths.length) return false;
  return paths.every((path) => before.paths.some((other) => isDeepStrictEqual(path, other)));
}
