/** How long it takes until VPP has what somebody has changed. */

/** Upper bounds of the buckets, in milliseconds; beyond the last: longer. */
export const bounds_ms = [
  1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000,
] as const;

/** Durations, counted in buckets as Prometheus knows them. */
export class DurationCounts {
  readonly #counts: number[] = new Array(bounds_ms.length + 1).fill(0);
  #count = 0;
  #sum_ms = 0;

  record(ms: number): void {
    const at = bounds_ms.findIndex((bound) => ms <= bound);
    this.#counts[at < 0 ? bounds_ms.length : at]! += 1;
    this.#count += 1;
    this.#sum_ms += ms;
  }

  /** The upper bound in ms of the bucket that holds this share of all; 0 where there are none. */
  quantile_ms(share: number): number {
    let left = Math.ceil(this.#count * share);
    if (left === 0) return 0;
    for (const [at, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return bounds_ms[at] ?? Number.POSITIVE_INFINITY;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Cumulative, each bucket by its upper bound in seconds, as the text format of Prometheus has them. */
  histogram(): {
    readonly count: number;
    readonly sum_seconds: number;
    readonly buckets: readonly (readonly [le_seconds: number, count: number])[];
  } {
    let sum = 0;
    const buckets = bounds_ms.map((bound, at) => {
      sum += this.#counts[at]!;
      return [bound / 1000, sum] as const;
    });
    return { count: this.#count, sum_seconds: this.#sum_ms / 1000, buckets };
  }
}

/** Of services that wait for VPP, so many are known by their triggers; of others it is not measured. */
const triggers_max = 20_000;

export class Latencies {
  /** From the event of the watch to VPP's answer, for each translation or route. */
  readonly event_to_vpp = new DurationCounts();
  /**
   * From the change of an endpoint, as its slice says, until VPP has all that follows: what kube-proxy gives as
   * `kubeproxy_network_programming_duration_seconds`.
   */
  readonly network_programming = new DurationCounts();
  readonly #began_ms: number;
  readonly #triggers = new Map<string, number>();

  /** `began_ms`: of what has changed before, this life knows nothing. Milliseconds since 1970. */
  constructor(began_ms: number) {
    this.#began_ms = began_ms;
  }

  /** An endpoint of this slice has changed then: `endpoints.kubernetes.io/last-change-trigger-time`. The oldest that waits counts. */
  triggered(slice: string, trigger_ms: number): void {
    if (trigger_ms < this.#began_ms || this.#triggers.has(slice)) return;
    if (this.#triggers.size < triggers_max) this.#triggers.set(slice, trigger_ms);
  }

  /** VPP has all that is wanted by now. */
  programmed(now_ms: number): void {
    for (const trigger_ms of this.#triggers.values())
      this.network_programming.record(Math.max(0, now_ms - trigger_ms));
    this.#triggers.clear();
  }
}
