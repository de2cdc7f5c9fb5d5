/**
 * Puts leases back on taps whose clients have dropped them and do not get them again in a moment. What comes by the client's own answer is the client's:
 * with another lease, by which the host has its network, the one that was put back goes again.
 */
import type { ClusterPrefixes } from '../desired/host-tap.js';
import type { CapturedUplink } from './captured.js';
import type { Dressing } from './dressing.js';
import type { HostTaps } from './host-taps.js';
import { lentWith } from './leases.js';
import { isNothing, type Lost } from './lost.js';
import type { Taken } from './taken.js';

/** A service that drops what it finds does it once, a moment after it was started. One that goes on with it is not fought for ever. */
const mends_max = 5;
/** By then every client has renewed its lease, or has none: what was put back is the host's as it is, whatever comes beside it. */
const lent_ms_max = 3_600_000;

/** What was put back and is nobody's yet, and what the uplinks had then. */
interface Lent {
  readonly before: readonly CapturedUplink[];
  readonly lost: readonly Lost[];
  readonly until_ms: number;
}

export class LeaseMender {
  #until_ms = 0;
  #patience_ms = 0;
  #lacking_since_ms: number | undefined;
  #mends = 0;
  #lent: Lent[] = [];
  /** Of something that was put back nobody has ever heard. */
  #is_unanswered = false;

  constructor(
    private readonly taps: HostTaps,
    private readonly dressing: Dressing,
    private readonly warn: (text: string) => void,
  ) {}

  /** The taps are to be those of another VPP. */
  anew(): void {
    this.#until_ms = 0;
    this.#lacking_since_ms = undefined;
    this.#mends = 0;
    this.#lent = [];
    this.#is_unanswered = false;
  }

  /** All leases are as if they had been put back: whether their clients have been there is not known. */
  lend(before: readonly CapturedUplink[], now_ms: number): void {
    this.#lent = [{ before, lost: before.map(lentWith), until_ms: now_ms + lent_ms_max }];
  }

  /** Whether the clients of all leases have been there: of none it is known that it has not, nor is it too early to know. */
  isAnswered(now_ms: number): boolean {
    return !this.isOpen(now_ms) && this.#lent.length === 0 && !this.#is_unanswered;
  }

  /** Until then what the taps lack of leases is not what the host wants, later it is. `patience_ms`: for the client to get them again itself. */
  begin(until_ms: number, patience_ms: number): void {
    this.#until_ms = until_ms;
    this.#patience_ms = patience_ms;
  }

  isOpen(now_ms: number): boolean {
    return now_ms < this.#until_ms;
  }

  /** Answers when it is to be called again, in ms; undefined: with the next change of the taps. */
  mend({ captured, uplinks }: Taken, cluster: ClusterPrefixes, now_ms: number): number | undefined {
    this.#lent = this.#lent.filter(({ before, lost, until_ms }) => {
      if (now_ms < until_ms) return !this.taps.takeBack(before, lost);
      this.#is_unanswered = true;
      return false;
    });
    const left_ms = this.#until_ms - now_ms;
    if (left_ms <= 0) return undefined;
    const lost = this.taps.lostLeases(captured);
    if (lost.every(isNothing)) {
      this.#lacking_since_ms = undefined;
      return undefined;
    }
    this.#lacking_since_ms ??= now_ms;
    const waits_ms = this.#lacking_since_ms + this.#patience_ms - now_ms;
    if (waits_ms > 0) return Math.min(waits_ms, left_ms);
    if (this.#mends >= mends_max) return left_ms;
    this.#mends += 1;
    this.#lacking_since_ms = undefined;
    const gone = lost.flatMap(({ addresses, routes }) =>
      [...addresses, ...routes].map(({ prefix }) => prefix),
    );
    const has_ip6 = lost.some(({ addresses }) => addresses.some(({ family }) => family === 6));
    this.warn(
      `${gone.join(', ')} of a lease is gone from the tap, and was not leased again within ${this.#patience_ms} ms: put back, and renewed when its client is answered${has_ip6 ? ' (by DHCPv6 its hop limit has to be 2 there, which nft on the host sees to)' : ''}`,
    );
    this.dressing.putBack(uplinks, lost, cluster);
    this.#lent.push({ before: captured, lost, until_ms: now_ms + lent_ms_max });
    return undefined;
  }
}
