/** When a take-over that has failed is tried again. Pure. */

export interface Pauses {
  /** Pause after a failed take-over, doubled each time. */
  readonly retry_ms: number;
  readonly retry_max_ms: number;
  /** Take-overs of one VPP that cut the host off for a moment and failed: the next ones wait for `pause_ms`. */
  readonly failures_max: number;
  /** Doubled each time: what has failed so often costs the host its network for nothing, and may be mended all the same. */
  readonly pause_ms: number;
  readonly pause_max_ms: number;
}

/** Attempts to take the uplinks over for one VPP. */
export class Attempts {
  private tries = 0;
  private failures = 0;

  constructor(private readonly pauses: Pauses) {}

  /** Another VPP, or one that has the uplinks. */
  anew(): void {
    this.tries = 0;
    this.failures = 0;
  }

  begun(): void {
    this.tries += 1;
  }

  /** `cost`: the host was cut off by it. `pauses`: it has failed so often that it is left alone for a while. */
  failed(cost: boolean): { readonly delay_ms: number; readonly pauses: boolean } {
    if (cost) this.failures += 1;
    const { retry_ms, retry_max_ms, failures_max, pause_ms, pause_max_ms } = this.pauses;
    const over = this.failures - failures_max;
    const pauses = cost && over >= 0;
    const delay_ms = pauses
      ? Math.min(pause_ms * 2 ** over, pause_max_ms)
      : Math.min(retry_ms * 2 ** (this.tries - 1), retry_max_ms);
    return { delay_ms, pauses };
  }
}
