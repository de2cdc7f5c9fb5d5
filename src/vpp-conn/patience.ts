/**
 * How long VPP is waited for, in time in which it could have been heard. What VPP has said during a stall of our own loop lies
 * unread in the sockets when the timers run, and what it takes several messages to say has not even been asked for: a stall counts
 * as one slice, however long it was.
 */
import type { Clock, Timer } from '../clock.js';

const slices = 8;

export class Patience {
  /** Resolves when it is over; never after `end`. */
  readonly over: Promise<void>;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #slice_ms: number;
  #left = slices;
  #timer: Timer | undefined;

  /** Begins now. Has to be ended. */
  constructor(clock: Pick<Clock, 'after'>, within_ms: number) {
    this.#clock = clock;
    this.#slice_ms = within_ms / slices;
    this.over = new Promise((resolve) => this.#wait(resolve));
  }

  get isOver(): boolean {
    return this.#left === 0;
  }

  end(): void {
    this.#timer?.cancel();
  }

  #wait(over: () => void): void {
    this.#timer = this.#clock.after(this.#slice_ms, () => {
      this.#left -= 1;
      if (this.isOver) over();
      else this.#wait(over);
    });
  }
}
