/** Which of VPP's workers encrypt and decrypt for the others. Pure. */
import type { AsyncCrypto } from '../objects/ipsec.js';

/** How many were asked for (`nbAsyncCryptoThreads`), and how many workers this VPP has. */
export interface CryptoThreads {
  readonly asked: number;
  readonly workers: number;
}

/** Undefined: none, so that each thread encrypts what it forwards. VPP itself lets all workers forward, and would let none encrypt but the last one. */
export function asyncCryptoOf({ asked, workers }: CryptoThreads): AsyncCrypto | undefined {
  if (asked === 0 || asked >= workers) return undefined;
  return { kind: 'async_crypto', workers, forwarding: workers - asked };
}

/** Workers on which receive queues are to be, counted from 0: those that encrypt have none. 0: the main thread has all. */
export const movingWorkers = (threads: CryptoThreads): number =>
  asyncCryptoOf(threads)?.forwarding ?? threads.workers;

/** Why it is not done, and the step to take. */
export function asyncCryptoFault({ asked, workers }: CryptoThreads): string | undefined {
  if (asked === 0 || asked < workers) return undefined;
  const has = workers === 0 ? 'no workers' : workers === 1 ? 'one worker' : `${workers} workers`;
  return `nbAsyncCryptoThreads is ${asked}, and VPP has ${has}, of which one at least has to move packets: each thread encrypts what it forwards. Give VPP ${asked + 1} workers or more (cpu in CALICOVPP_CONFIG_TEMPLATE), or ask for fewer`;
}
