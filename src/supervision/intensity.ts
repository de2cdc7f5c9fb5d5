import type { Intensity } from './types.js';

/** The restarts (times in ms, oldest first) that still count at `now_ms`. One exactly `window_ms` old does not. */
export function inWindow(times: readonly number[], now_ms: number, window_ms: number): number[] {
  return times.filter((time) => now_ms - time < window_ms);
}

/**
 * Adds a restart at `now_ms` to those of a supervisor. `exceeded` when there are then more than `restarts_max` in the
 * window. The list never holds more than `restarts_max + 1` times.
 */
export function admitRestart(
  times: readonly number[],
  now_ms: number,
  intensity: Intensity,
): { readonly times: readonly number[]; readonly exceeded: boolean } {
  const recent = inWindow(times, now_ms, intensity.window_ms).slice(-intensity.restarts_max);
  if (intensity.restarts_max === 0) recent.length = 0;
  recent.push(now_ms);
  return { times: recent, exceeded: recent.length > intensity.restarts_max };
}
