/** The first answer of a gobgpd that was just started, or is adopted. */
import type { Gobgp } from 'gobgp-grpc-stubs';
import type { Clock } from '../clock.js';
import { Patience, type WaitedMs } from '../vpp-conn/patience.js';

export interface ReachOptions {
  /** One attempt; rejects where nobody answers (yet). */
  readonly connect: () => Promise<Gobgp>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** It may take so long, less what gobgpd has waited for a CPU. */
  readonly connect_ms: number;
  readonly waited: WaitedMs;
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
export async function reach(options: ReachOptions): Promise<Reached | undefined> {
  const patience = new Patience(options.clock, options.connect_ms, options.waited);
  try {
    return await reachWithin(patience, options);
  } finally {
    patience.end();
  }
}

async function reachWithin(
  patience: Patience,
  { connect, clock, signal, isOver }: ReachOptions,
): Promise<Reached | undefined> {
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
      if (patience.isOver) throw error;
    }
    await clock.sleep(again_ms, signal);
  }
}
