/** When gobgpd's peers are looked at: as soon as somebody wishes it, but to read a thousand of them takes its time, of gobgpd as well. */
import type { Clock, Timer } from '../clock.js';

export interface LooksOptions {
  readonly clock: Clock;
  /** Has a look begun in so many ms. */
  readonly after: (ms: number) => Timer;
  /** The longest rest after a look. */
  readonly rest_ms_max: number;
}

/** After a look there is none for so many times as long as it took. */
const rest = 4;

export class Looks {
  readonly #options: LooksOptions;
  #began_ms: number | undefined;
  #rest_until_ms = 0;
  #next: { readonly at_ms: number; readonly timer: Timer } | undefined;

  constructor(options: LooksOptions) {
    this.#options = options;
  }

  /** Who asks for one sooner gets it sooner, and nobody puts it off. */
  in(ms: number): void {
    const { clock, after } = this.#options;
    const now_ms = clock.now_ms();
    const at_ms = Math.max(now_ms + ms, this.#rest_until_ms);
    if (this.#next !== undefined && this.#next.at_ms <= at_ms) return;
    this.#next?.timer.cancel();
    this.#next = { at_ms, timer: after(at_ms - now_ms) };
  }

  /** Its time has come. False: one is under way. */
  begin(): boolean {
    this.#next = undefined;
    if (this.#began_ms !== undefined) return false;
    this.#began_ms = this.#options.clock.now_ms();
    return true;
  }

  over(): void {
    const { clock, rest_ms_max } = this.#options;
    const now_ms = clock.now_ms();
    this.#rest_until_ms = now_ms + Math.min(rest * (now_ms - (this.#began_ms ?? now_ms)), rest_ms_max);
    this.#began_ms = undefined;
  }
}
