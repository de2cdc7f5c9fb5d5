/**
 * When the next pod interface may be removed. Deleting a tap stops VPP's main thread, and its workers with it, for some
 * 20 ms: removals are done one at a time, with a pause in which packets and ADDs pass, and still in time for those who wait.
 */

/** What a removal costs VPP, most of it the kernel's unregistration of the device. */
export const removal_ms = 25;
/** Between two removals, when there is time. */
export const gap_ms_max = 50;
/** A removal that has waited this long no longer lets ADDs go first. */
export const patience_ms = 1500;
/** The caller of a DEL gives up after 5 s; this leaves it a second for what is slower than expected. */
export const done_within_ms = 4000;

export interface Lane {
  readonly now_ms: number;
  /** A removal is under way. */
  readonly busy: boolean;
  /** When the last removal ended. */
  readonly ended_ms: number;
  /** ADDs that are being carried out or could be. */
  readonly adds: number;
  /** When each waiting removal was asked for, oldest first. -Infinity: somebody waits for it who must not. */
  readonly waiting: readonly number[];
}

/** Milliseconds until the first of `waiting` may go (0: now); undefined: nothing to do until the lane changes. */
export function nextRemoval({ now_ms, busy, ended_ms, adds, waiting }: Lane): number | undefined {
  const oldest = waiting[0];
  if (busy || oldest === undefined) return undefined;
  if (oldest === -Infinity) return 0;
  const rest = Math.max(0, ended_ms + gapFor(waiting, now_ms) - now_ms);
  return adds === 0 ? rest : Math.max(rest, oldest + patience_ms - now_ms, 0);
}

/** The pause with which the whole queue is done in time: each waiting removal has its share of the time left to it. */
function gapFor(waiting: readonly number[], now_ms: number): number {
  let gap = gap_ms_max;
  for (const [at, since_ms] of waiting.entries()) {
    if (since_ms !== -Infinity)
      gap = Math.min(gap, (since_ms + done_within_ms - now_ms) / (at + 1) - removal_ms);
  }
  return Math.max(0, gap);
}
