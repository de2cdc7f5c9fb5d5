/**
 * How often VPP is told of one translation. It compares each back end with each, with all workers stopped, so that a service with thousands
 * of them that changes all the time would stop the node.
 */

/** Estimated time of VPP's main thread for an update, as it was measured: 0.5 ms at 100 back ends, 8 at 1,000, 126 at 5,000. */
function cost_ms(backends: number): number {
  return 0.003 * backends + 5e-6 * backends ** 2;
}

const interval_max_ms = 200;
/** A service with more back ends than this is never told more often than `large_interval_ms`. */
const large = 500;
const large_interval_ms = 100;

/** From one update of a translation with so many back ends to the next: twice what it costs. Below a few milliseconds it is not worth a timer. */
export function interval_ms(backends: number): number {
  const interval = Math.min(2 * cost_ms(backends), interval_max_ms);
  if (backends > large) return Math.max(interval, large_interval_ms);
  return interval < 5 ? 0 : interval;
}
