/**
 * How long VPP is waited for, in time in which it could have answered and been heard. Two kinds of time do not count:
 *
 * - A stall of our own loop. What VPP has said meanwhile lies unread in the sockets when the timers run, and what it takes several messages
 *   to say has not even been asked for: a stall counts as one slice, however long it was.
 * - That in which VPP's main thread wanted a CPU and others had it, as the kernel counts it. A VPP that hangs does not want one, or has it.
 *
 * It has an end all the same: by the clock it lasts `times_max` times as long at most, and its stalls more.
 */
import type { Clock, Timer } from '../clock.js';

const slices = 8;
export const times_max = 15;

/** Milliseconds that a thread has waited for a CPU since it began. Always the same where the kernel does not tell. */
export type WaitedMs = () => number;

export class Patience {
  /** Resolves when it is over, after what had come by then was read; never after `end`. */
  readonly over: Promise<void>;
  readonly #clock: Pick<Clock, 'after' | 'afterPoll'>;
  readonly #within_ms: number;
  readonly #waited: WaitedMs;
  #waited_ms: number;
  #left_ms: number;
  #slices_left = slices * times_max;
  #is_over = false;
  #ended = false;
  #timer: Timer | undefined;

  /** Begins now. Has to be ended. */
  constructor(clock: Pick<Clock, 'after' | 'afterPoll'>, within_ms: number, waited: WaitedMs) {
    this.#clock = clock;
    this.#within_ms = within_ms;
    this.#waited = waited;
    this.#waited_ms = waited();
    this.#left_ms = within_ms;
    this.over = new Promise((resolve) => this.#wait(resolve));
  }

  get isOver(): boolean {
    return this.#is_over;
  }

  end(): void {
    this.#ended = true;
    this.#timer?.cancel();
  }

  #wait(over: () => void): void {
    const slice_ms = Math.min(this.#within_ms / slices, this.#left_ms);
    this.#timer = this.#clock.after(slice_ms, () => {
      const waited_ms = this.#waited();
      // The kernel tells of a wait when it is over: it may be longer than the slice in which it ended.
      const had_ms = slice_ms - Math.max(0, waited_ms - this.#waited_ms);
      this.#left_ms = Math.min(this.#within_ms, this.#left_ms - had_ms);
      this.#waited_ms = waited_ms;
      this.#slices_left -= 1;
      if (this.#left_ms >= 1 && this.#slices_left > 0) return this.#wait(over);
      this.#clock.afterPoll(() => {
        if (this.#ended) return;
        this.#is_over = true;
        over();
      });
    });
  }
}
