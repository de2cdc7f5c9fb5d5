import type { Backoff } from './types.js';

/**
 * Delay in ms before restart number `attempt` (1 for the first in the window). `random` gives [0, 1) and takes away up
 * to the share `jitter`, so that the delay never exceeds `max_ms`.
 */
export function backoffDelay(attempt: number, backoff: Backoff, random: () => number): number {
  const full_ms = Math.min(backoff.first_ms * 2 ** (attempt - 1), backoff.max_ms);
  return full_ms * (1 - backoff.jitter * random());
}
