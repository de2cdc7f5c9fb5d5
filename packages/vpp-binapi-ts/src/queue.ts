import type { Call } from './call.js';
import { Fifo } from './fifo.js';

/** What waits for the window, in the order in which it was asked for. */
export class Queue {
  readonly #calls = new Fifo<Call>();
  /** Of all that wait; or less, when the shortest has left. */
  #deadline_min_ms = Number.POSITIVE_INFINITY;

  get length(): number {
    return this.#calls.length;
  }

  get first(): Call | undefined {
    return this.#calls.first;
  }

  push(call: Call): void {
    if (this.#calls.length === 0) this.#deadline_min_ms = Number.POSITIVE_INFINITY;
    this.#deadline_min_ms = Math.min(this.#deadline_min_ms, call.deadline_ms);
    this.#calls.push(call);
  }

  shift(): Call | undefined {
    return this.#calls.shift();
  }

  /**
   * Takes out every call that has waited for its whole deadline while VPP answered nothing, and tells `expire` of it. Returns when to
   * look again. Looks at no call while VPP answers: there may be many.
   */
  judge(now_ms: number, heard_ms: number, expire: (call: Call) => void): number {
    if (this.#calls.length === 0) return Number.POSITIVE_INFINITY;
    const earliest_ms = heard_ms + this.#deadline_min_ms;
    if (now_ms < earliest_ms) return earliest_ms;
    let next_ms = Number.POSITIVE_INFINITY;
    this.#deadline_min_ms = Number.POSITIVE_INFINITY;
    this.#calls.retain((call) => {
      const silent_ms = Math.max(call.asked_ms, heard_ms) + call.deadline_ms;
      if (now_ms >= silent_ms) {
        expire(call);
        return false;
      }
      next_ms = Math.min(next_ms, silent_ms);
      this.#deadline_min_ms = Math.min(this.#deadline_min_ms, call.deadline_ms);
      return true;
    });
    return next_ms;
  }
}
