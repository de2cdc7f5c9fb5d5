import { inWindow } from './intensity.js';

export interface DeathsSettings {
  readonly deaths_window_ms: number;
  /** Pause before the second start in a row; doubled for each further one within the window. The first one is immediate. */
  readonly backoff_first_ms: number;
  readonly backoff_max_ms: number;
}

/** How often a process has died of late, and so how long its next start has to wait. Outlives a restart of the actor that owns the process. */
export class Deaths {
  readonly #settings: DeathsSettings;
  #times: readonly number[] = [];

  constructor(settings: DeathsSettings) {
    this.#settings = settings;
  }

  note(now_ms: number): void {
    this.#times = [...inWindow(this.#times, now_ms, this.#settings.deaths_window_ms), now_ms];
  }

  /** Within the window, as of the last one. */
  get count(): number {
    return this.#times.length;
  }

  get pause_ms(): number {
    const { backoff_first_ms, backoff_max_ms } = this.#settings;
    const again = this.count - 2;
    return again < 0 ? 0 : Math.min(backoff_first_ms * 2 ** again, backoff_max_ms);
  }
}
