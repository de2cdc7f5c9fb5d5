/**
 * When gobgpd is compared with what it is to have: a moment after a change, so that a burst is one; one round at a time; and again, ever later, after one
 * that has failed.
 */
import type { Timer } from '../clock.js';
import type { BgpPace } from './pace.js';

export interface RoundsOptions extends Pick<BgpPace, 'debounce_ms' | 'retry_first_ms' | 'retry_max_ms'> {
  /** Has `heard` called in so many ms. */
  readonly after: (ms: number) => Timer;
}

export class Rounds {
  readonly #options: RoundsOptions;
  #scheduled = false;
  #busy = false;
  #again = false;
  #retries = 0;
  /** One at a time, however many changes come meanwhile. */
  #retrying: Timer | undefined;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Something has changed. */
  wish(): void {
    const { after, debounce_ms } = this.#options;
    this.#again = this.#busy;
    if (this.#busy || this.#scheduled) return;
    this.#scheduled = true;
    after(debounce_ms);
  }

  /** Its time has come. False: one is under way, and another follows it. */
  heard(): boolean {
    this.#scheduled = false;
    if (this.#busy) this.#again = true;
    return !this.#busy;
  }

  begin(): void {
    this.#busy = true;
  }

  /** `retry`: something of it has failed. */
  over(retry: boolean): void {
    const { after, retry_first_ms, retry_max_ms } = this.#options;
    this.#busy = false;
    if (retry) {
      this.#retrying?.cancel();
      this.#retrying = after(Math.min(retry_first_ms * 2 ** this.#retries, retry_max_ms));
      this.#retries = Math.min(this.#retries + 1, 20);
    } else this.#retries = 0;
    if (this.#again) this.wish();
  }
}
