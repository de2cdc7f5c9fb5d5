/**
 * VPP's clock. VPP counts its time from the processor's counter, by a frequency that it estimates within one millisecond of its start (`vppinfra/time.c`)
 * and keeps: who it loses the CPU to in that moment leaves it with a clock that goes hundreds of times too slow for good. It answers and forwards as if
 * nothing were the matter, and no timer of it comes to its end: dead peers, ages of neighbours and sessions, new keys (seen, docs/vpp-notes.md).
 */
import { type Client, RetvalError } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { Clock } from '../clock.js';

/** VPP looked at its clock between these two moments of ours. */
export interface ClockReading {
  readonly sent_ms: number;
  readonly heard_ms: number;
  /** Since VPP's start, by its own clock. */
  readonly vpp_ms: number;
}

/** Two readings say nothing when they are closer to each other. */
const apart_ms = 20;
/** What differs by less is no wrong estimate. */
const times = 2;
/** A machine that was stopped for a moment, as when it is moved, is no reason. */
const wrong_in_a_row = 2;

/** Undefined where VPP does not say. Rejects with the connection, or by `deadline_ms`. */
export async function readVppClock(
  vpp: Pick<Client, 'request'>,
  clock: Pick<Clock, 'now_ms'>,
  deadline_ms?: number,
): Promise<ClockReading | undefined> {
  const sent_ms = clock.now_ms();
  const reply = await vpp
    .request(cli_inband, { cmd: 'show clock' }, deadline_ms === undefined ? {} : { deadline_ms })
    .then(({ reply }) => reply)
    .catch((error) => {
      if (error instanceof RetvalError) return '';
      throw error;
    });
  const heard_ms = clock.now_ms();
  const [, seconds] = /^Time now (\d*\.\d+)/.exec(reply) ?? [];
  return seconds === undefined ? undefined : { sent_ms, heard_ms, vpp_ms: Number(seconds) * 1000 };
}

export class VppClockJudge {
  #before: ClockReading | undefined;
  #wrong = 0;
  #is_right = false;

  /** No more readings are needed: a clock that is right stays so. */
  get isRight(): boolean {
    return this.#is_right;
  }

  /** What is wrong with the clock, once it was seen to be twice. */
  judge(now: ClockReading | undefined): string | undefined {
    const before = this.#before;
    if (now === undefined) return undefined;
    if (before === undefined) {
      this.#before = now;
      return undefined;
    }
    const at_least_ms = now.sent_ms - before.heard_ms;
    if (at_least_ms < apart_ms) return undefined;
    this.#before = now;
    const at_most_ms = now.heard_ms - before.sent_ms;
    const went_ms = now.vpp_ms - before.vpp_ms;
    this.#is_right = went_ms * times >= at_least_ms && went_ms <= at_most_ms * times;
    this.#wrong = this.#is_right ? 0 : this.#wrong + 1;
    if (this.#wrong < wrong_in_a_row) return undefined;
    return `VPP's clock is wrong: it went ${went_ms.toFixed(1)} ms in ${at_least_ms.toFixed(0)} ms, and VPP never mends it`;
  }
}
