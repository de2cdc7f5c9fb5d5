/** The first answer of a gobgpd that was just started, or is adopted. */
import type { Gobgp } from 'gobgp-grpc-stubs';
import type { Clock } from '../clock.js';

export interface ReachOptions {
  /** One attempt; rejects where nobody answers (yet). */
  readonly connect: () => Promise<Gobgp>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** It may take so long. */
  readonly connect_ms: number;
  /** Nobody waits for it any more. */
  readonly isOver: () => boolean;
}

export interface Reached {
  readonly gobgp: Gobgp;
  /** 0 where BGP has not been started yet. */
  readonly as_number: number;
}

const again_ms = 100;

/** Rejects with why there is no answer when the time is over; undefined: nobody waits for it any more. */
export async function reach({
  connect,
  clock,
  signal,
  connect_ms,
  isOver,
}: ReachOptions): Promise<Reached | undefined> {
  const until_ms = clock.now_ms() + connect_ms;
  for (;;) {
    try {
      const gobgp = await connect();
      try {
        const { global } = await gobgp.getBgp({}, { signal });
        return { gobgp, as_number: global.asn };
      } catch (error) {
        gobgp.close();
        throw error;
      }
    } catch (error) {
      if (signal.aborted || isOver()) return undefined;
      if (clock.now_ms() >= until_ms) throw error;
    }
    await clock.sleep(again_ms, signal);
  }
}
