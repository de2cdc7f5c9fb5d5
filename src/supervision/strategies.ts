import type { Restart, Strategy } from './types.js';

/** A child as a strategy sees it. */
export interface Slot {
  readonly name: string;
  readonly restart: Restart;
}

/** What to do about a child that went down. Both lists hold names. */
export interface RestartPlan {
  /** In reverse start order; the child that went down is in its place, although it is down already. */
  readonly stop: readonly string[];
  /** In start order. */
  readonly start: readonly string[];
}

/** Which restart types bring a child back after which end. */
const COMES_BACK: Readonly<Record<Restart, Readonly<Record<'normal' | 'abnormal', boolean>>>> = {
  permanent: { normal: true, abnormal: true },
  transient: { normal: false, abnormal: true },
  temporary: { normal: false, abnormal: false },
};

/** Whether a child of this restart type is started again after such an end. */
export function comesBack(restart: Restart, end: 'normal' | 'abnormal'): boolean {
  return COMES_BACK[restart][end];
}

/** Whom the strategy takes along with the child at `index`. */
const TAKES_ALONG: Readonly<Record<Strategy, (slot: number, index: number) => boolean>> = {
  one_for_one: (slot, index) => slot === index,
  rest_for_one: (slot, index) => slot >= index,
  one_for_all: () => true,
};

const NOTHING: RestartPlan = { stop: [], start: [] };

/**
 * The plan after the child `down` of `children` (in start order) has ended. A child that does not come back takes
 * nobody along. Temporary siblings are left alone: nothing depends on them, and once stopped they would not return.
 * (Erlang/OTP stops them for good here, which would cost a node its debug endpoint on the first crash.)
 */
export function planRestart(
  strategy: Strategy,
  children: readonly Slot[],
  down: string,
  end: 'normal' | 'abnormal',
): RestartPlan {
  const index = children.findIndex((slot) => slot.name === down);
  const child = children[index];
  if (child === undefined || !comesBack(child.restart, end)) return NOTHING;
  const taken = TAKES_ALONG[strategy];
  const start = children
    .filter((slot, at) => taken(at, index) && slot.restart !== 'temporary')
    .map((slot) => slot.name);
  return { stop: start.toReversed(), start };
}
