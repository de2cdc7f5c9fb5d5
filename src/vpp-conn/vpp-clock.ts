/**
 * VPP's clock. VPP counts its time from the processor's counter, by a frequency that it estimates within one millisecond of its start (`vppinfra/time.c`)
 * and keeps: who it loses the CPU to in that moment leaves it with a clock that goes hundreds of times too slow, or too fast, for good. It answers and
 * forwards as if nothing were the matter, and no timer of it comes to its end: dead peers, ages of neighbours and sessions, new keys (seen,
 * docs/vpp-notes.md).
 *
 * Nothing that keeps this process or VPP from a CPU makes a clock look wrong: VPP has looked at it between two moments of ours, however far apart they are,
 * and both verdicts hold wherever between them that was.
 */
import { type Client, DeadlineError, RetvalError } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { Clock } from '../clock.js';
import type { VppRun } from './launcher.js';

/** VPP looked at its clock between these two moments of ours. */
export interface ClockReading {
  readonly sent_ms: number;
  readonly heard_ms: number;
  /** Since VPP's start, by its own clock. */
  readonly vpp_ms: number;
}

/** What differs by less is no wrong estimate. */
const times = 2;
/** A machine that was stopped for a moment, as when it is moved, is no reason. */
const wrong_in_a_row = 2;
/** Between two readings; doubled each time, for a VPP that answers late says little at first. */
const apart_ms = 5;
/** No more is asked when it has taken so long: who is that busy is to serve, and how its clock is the next session may learn. */
const judge_max_ms = 2000;
/** Of one answer. */
const answer_max_ms = 1000;

/** `unknown`: VPP does not say, or so late that it means nothing. */
export type ClockJudgement = 'right' | 'unknown' | { readonly fault: string };

/** Undefined where VPP does not say, or not in time. Rejects with the connection. */
export async function readVppClock(
  vpp: Pick<Client, 'request'>,
  clock: Pick<Clock, 'now_ms'>,
): Promise<ClockReading | undefined> {
  const sent_ms = clock.now_ms();
  const reply = await vpp
    .request(cli_inband, { cmd: 'show clock' }, { deadline_ms: answer_max_ms })
    .then(({ reply }) => reply)
    .catch((error) => {
      if (error instanceof RetvalError || error instanceof DeadlineError) return '';
      throw error;
    });
  const heard_ms = clock.now_ms();
  const [, seconds] = /^Time now (\d*\.\d+)(?![\de])/.exec(reply) ?? [];
  return seconds === undefined ? undefined : { sent_ms, heard_ms, vpp_ms: Number(seconds) * 1000 };
}

/** What two readings prove of a clock. */
export function compareReadings(before: ClockReading, now: ClockReading): ClockJudgement {
  const at_least_ms = now.sent_ms - before.heard_ms;
  const at_most_ms = now.heard_ms - before.sent_ms;
  const went_ms = now.vpp_ms - before.vpp_ms;
  if (went_ms * times < at_least_ms) return { fault: faultOf(went_ms, at_least_ms) };
  if (went_ms > at_most_ms * times) return { fault: faultOf(went_ms, at_most_ms) };
  return went_ms * times >= at_most_ms && went_ms <= at_least_ms * times ? 'right' : 'unknown';
}

const faultOf = (went_ms: number, in_ms: number): string =>
  `VPP's clock is wrong: it went ${went_ms.toFixed(2)} ms in ${in_ms.toFixed(1)} ms, and VPP never mends it`;

/** Reads until it is known, for some two seconds at most. `first` was read before. Rejects with the connection. */
export async function judgeClock(
  first: ClockReading | undefined,
  vpp: Pick<Client, 'request'>,
  clock: Pick<Clock, 'now_ms' | 'sleep'>,
): Promise<ClockJudgement> {
  let before = first;
  let wrong = 0;
  const until_ms = clock.now_ms() + judge_max_ms;
  for (let turn = 0; before !== undefined && clock.now_ms() < until_ms; turn += 1) {
    const due_ms = before.heard_ms + apart_ms * 2 ** turn;
    if (clock.now_ms() < due_ms) await clock.sleep(due_ms - clock.now_ms());
    const now = await readVppClock(vpp, clock);
    const judgement = now === undefined ? 'unknown' : compareReadings(before, now);
    if (judgement === 'right') return judgement;
    if (judgement !== 'unknown') {
      wrong += 1;
      if (wrong === wrong_in_a_row) return judgement;
    }
    before = now;
  }
  return 'unknown';
}

export interface ClockFault {
  readonly reason: string;
  readonly verdict: 'replace' | 'keep';
}

/** A third one that is wrong as well is not one that had bad luck: it is of the machine, and so will all be. */
const replacements_max = 2;

/** What is done about VPPs whose clocks are wrong. Of one VPP it is asked once. */
export class WrongClocks {
  #in_a_row = 0;

  right(): void {
    this.#in_a_row = 0;
  }

  /** One that an earlier life has kept tells of the machine, too. */
  wrong({ clock_kept }: Pick<VppRun, 'clock_kept'>, reason: string): ClockFault {
    if (clock_kept === true) this.#in_a_row = replacements_max;
    if (this.#in_a_row === replacements_max) return { reason, verdict: 'keep' };
    this.#in_a_row += 1;
    return { reason, verdict: 'replace' };
  }
}
