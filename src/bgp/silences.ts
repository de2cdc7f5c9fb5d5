/**
 * Whether a gobgpd that gives no answer hangs. As with VPP (`vpp-conn/patience.ts`), time in which it wanted a CPU and others had it does not count,
 * but not for ever.
 */
import { times_max, type WaitedMs } from '../vpp-conn/patience.js';

/** Calls in a row that were not answered in time, by a gobgpd that had the CPU. */
const silences_max = 3;
/** A bit less, for what is measured is never exact. */
const counted_max = silences_max - 0.1;

export class Silences {
  readonly #waited: WaitedMs;
  #waited_ms: number;
  #counted = 0;
  #calls = 0;

  constructor(waited: WaitedMs) {
    this.#waited = waited;
    this.#waited_ms = waited();
  }

  /** A call was answered. */
  heard(): void {
    this.#waited_ms = this.#waited();
    this.#counted = 0;
    this.#calls = 0;
  }

  /** One was not in its time, of `deadline_ms`. True: it hangs. */
  missed(deadline_ms: number): boolean {
    const before_ms = this.#waited_ms;
    this.#waited_ms = this.#waited();
    const had_ms = deadline_ms - Math.max(0, this.#waited_ms - before_ms);
    this.#counted += Math.max(0, had_ms / deadline_ms);
    this.#calls += 1;
    return this.#counted >= counted_max || this.#calls >= silences_max * times_max;
  }
}
