/** 2^31 us are 35 minutes: no handler is let run that long. */
const BUCKETS = 32;
const REPORTED_FIRST = 4;
const REPORTED_LAST = 26;

export interface DurationReport {
  readonly count: number;
  readonly sum_seconds: number;
  readonly buckets: readonly (readonly [le_seconds: number, count: number])[];
}

/** Durations in buckets of powers of two microseconds: recording allocates nothing. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;
  #max_ms = 0;
  #sum_ms = 0;

  record(ms: number): void {
    const bucket = 32 - Math.clz32(ms * 1000);
    this.#counts[bucket < BUCKETS ? bucket : BUCKETS - 1]! += 1;
    this.#total += 1;
    this.#sum_ms += ms;
    if (ms > this.#max_ms) this.#max_ms = ms;
  }

  get max_ms(): number {
    return this.#max_ms;
  }

  /** Upper bound in ms of the bucket that holds the given share (0 to 1) of all durations; 0 when there are none. */
  quantile_ms(share: number): number {
    let left = Math.ceil(this.#total * share) - this.#counts[0]!;
    let bucket = 0;
    while (left > 0) {
      bucket += 1;
      left -= this.#counts[bucket]!;
    }
    return Math.min(2 ** bucket / 1000, this.#max_ms);
  }

  /** Cumulative, by upper bound, of every second bucket from 16 µs to 67 s; all are in `count`. */
  report(): DurationReport {
    const buckets: [number, number][] = [];
    let count = 0;
    for (let bucket = 0; bucket <= REPORTED_LAST; bucket += 1) {
      count += this.#counts[bucket]!;
      if (bucket >= REPORTED_FIRST && bucket % 2 === 0) buckets.push([2 ** bucket / 1e6, count]);
    }
    return { count: this.#total, sum_seconds: this.#sum_ms / 1000, buckets };
  }
}
