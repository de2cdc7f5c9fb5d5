/** When to try again what failed: later each time, never not at all. */
import type { ActorContext } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { PodMessage } from '../messages/pod.js';

const first_ms = 1000;
const max_ms = 60_000;

export class Retry {
  readonly #ctx: ActorContext<PodMessage>;
  #timer: Timer | undefined;
  #count = 0;

  constructor(ctx: ActorContext<PodMessage>) {
    this.#ctx = ctx;
  }

  get waits(): boolean {
    return this.#timer !== undefined;
  }

  /** Tries in a row that failed. */
  get count(): number {
    return this.#count;
  }

  /** Has Retry told. */
  later(): void {
    if (this.waits) return;
    this.#timer = this.#ctx.after(Math.min(first_ms * 2 ** this.#count, max_ms), { type: 'Retry' });
    this.#count += 1;
  }

  /** The time has come. */
  due(): void {
    this.#timer = undefined;
  }

  /** Begins anew: it succeeded, or what it was about has changed. */
  forget(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#count = 0;
  }
}
