import { type Clock, checkTimer, sleepOn, type Timer } from '../src/clock.js';

interface Entry {
  readonly due_ms: number;
  readonly run: () => void;
}

/** Turns of the event loop after which work started by a timer counts as done, unless `settle` knows better. */
const TURNS = 20;

async function turns(): Promise<void> {
  for (let i = 0; i < TURNS; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * A clock that stands still until it is turned. Timers run in the order of their time, then of their setting; after
 * each of them `settle` is awaited, so that what one timer sets in motion comes before the next timer.
 */
export class TurnedClock implements Clock {
  #now_ms = 0;
  readonly #origin_ms: number;
  readonly #timers: Entry[] = [];
  /** Waits until nothing moves any more; replaced by a test kit that can see the actors. */
  settle: () => Promise<void> = turns;

  constructor(options: { readonly wall_ms?: number } = {}) {
    this.#origin_ms = options.wall_ms ?? Date.UTC(2030, 0, 1);
  }

  now_ms(): number {
    return this.#now_ms;
  }

  wall_ms(): number {
    return this.#origin_ms + this.#now_ms;
  }

  /** Number of timers that are set: a test proves with it that nothing was left behind. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Time from now to the next timer, in milliseconds; undefined when none is set. */
  get next_ms(): number | undefined {
    const next = this.#timers[0];
    return next === undefined ? undefined : next.due_ms - this.#now_ms;
  }

  after(ms: number, run: () => void): Timer {
    checkTimer(ms);
    const entry: Entry = { due_ms: this.#now_ms + ms, run };
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#timers[middle]!.due_ms <= entry.due_ms) low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, entry);
    return {
      cancel: () => {
        const at = this.#timers.indexOf(entry);
        if (at >= 0) this.#timers.splice(at, 1);
      },
    };
  }

  /** A poll phase of the real event loop: `settle` waits for some. */
  afterPoll(run: () => void): void {
    setImmediate(run);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, ms, signal);
  }

  /** The event loop stands still for so long: then all timers that have fallen due run at once, before anything is read. */
  async stall(ms: number): Promise<void> {
    this.#now_ms += ms;
    const due = this.#timers.filter(({ due_ms }) => due_ms <= this.#now_ms);
    this.#timers.splice(0, due.length);
    for (const { run } of due) run();
    await this.settle();
  }

  /** Turns the clock: runs every timer that falls due on the way, also those set meanwhile. */
  async advance(ms: number): Promise<void> {
    const end_ms = this.#now_ms + ms;
    await this.settle();
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.due_ms > end_ms) break;
      this.#timers.shift();
      this.#now_ms = next.due_ms;
      next.run();
      await this.settle();
    }
    this.#now_ms = end_ms;
    await this.settle();
  }
}
