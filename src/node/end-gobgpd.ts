import type { RestoreParts } from './parts.js';

const kill_ms = 3000;

/**
 * Ends the gobgpd of this life, or of an earlier one, and forgets it. Peers keep what they have from it for the time of a graceful restart; see
 * GobgpdLauncher.end. True: there was one.
 */
export async function endGobgpd({ gobgpd, clock }: Pick<RestoreParts, 'gobgpd' | 'clock'>): Promise<boolean> {
  const run = await gobgpd.adopt();
  if (run !== undefined) {
    gobgpd.end(run);
    const waiting = new AbortController();
    await Promise.race([run.exited, clock.sleep(kill_ms, waiting.signal).catch(() => undefined)]);
    waiting.abort();
  }
  gobgpd.forget();
  return run !== undefined;
}
