/**
 * Services of the host find a tap by themselves, and drop what they do not know of it: systemd-networkd what it has not leased or heard itself, as soon as
 * the tap is there, and once more when it is started anew. Here stands when what they drop is put back; what it is, in lease-mender.ts and
 * advertised-mender.ts.
 */
import type { Clock } from '../clock.js';
import { AdvertisedMender } from './advertised-mender.js';
import type { CapturedUplink } from './captured.js';
import type { Dressing } from './dressing.js';
import type { HostTaps } from './host-taps.js';
import { LeaseMender } from './lease-mender.js';
import { withLeases } from './leases.js';
import type { NodeWishes } from './node-wishes.js';
import type { Taken } from './taken.js';
import { TakeOverFailed } from './uplink-error.js';

const poll_ms = 50;
const dressings_max = 5;
const advertised_interval_ms = 1000;
/** A server's answer takes a DHCP client less; a packet that is lost it sends again after 4 s only, then after 8. */
const lease_patience_ms = 1000;

export interface TapMenderParts {
  readonly taps: HostTaps;
  readonly dressing: Dressing;
  readonly wishes: NodeWishes;
  readonly clock: Clock;
  readonly warn: (text: string) => void;
}

export class TapMender {
  private readonly advertised: AdvertisedMender;
  private readonly leases: LeaseMender;
  private advertised_at_ms = 0;

  constructor(private readonly parts: TapMenderParts) {
    const { taps, dressing, warn } = parts;
    this.advertised = new AdvertisedMender(taps, dressing, warn);
    this.leases = new LeaseMender(taps, dressing, warn);
  }

  /** The taps are to be those of another VPP. */
  anew(): void {
    this.advertised.anew();
    this.leases.anew();
    this.advertised_at_ms = 0;
  }

  /** Of the leases with which VPP has the uplinks it is not known whether anybody renews them. */
  lend(captured: readonly CapturedUplink[]): void {
    this.leases.lend(captured, this.parts.clock.now_ms());
  }

  /** See `LeaseMender`. */
  get is_answered(): boolean {
    return this.leases.isAnswered(this.parts.clock.now_ms());
  }

  /** Makes the taps what the uplinks were: once more where something is dropped meanwhile. Without its addresses and default routes the host is not what it was. */
  async dress(taken: Taken, signal: AbortSignal): Promise<void> {
    const { dressing, wishes, clock, warn } = this.parts;
    for (let tries = 1; ; tries += 1) {
      try {
        dressing.dressFully(taken, wishes.cluster(), wishes.speakers());
        // Nobody has been told to lease anything there yet.
        this.leases.begin(Number.POSITIVE_INFINITY, 0);
        return;
      } catch (error) {
        if (tries === dressings_max || !(error instanceof TakeOverFailed)) throw error;
        warn(`${error.message}: the tap is dressed again`);
      }
      await clock.sleep(poll_ms, signal);
    }
  }

  /** While services of the host are `told` of the taps. A client of DHCP may drop its lease long before the last of them is told. */
  async whileTold(taken: Taken, told: Promise<void>, after_ms: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.parts;
    this.leases.begin(Number.POSITIVE_INFINITY, lease_patience_ms);
    let is_over = false;
    const end = told.finally(() => {
      is_over = true;
    });
    try {
      for (;;) {
        await Promise.race([end, clock.sleep(poll_ms, signal)]);
        if (is_over) return await end;
        this.mend(taken);
      }
    } finally {
      this.leases.begin(clock.now_ms() + after_ms, lease_patience_ms);
    }
  }

  /** To be called again and again. */
  mend(taken: Taken): void {
    const { clock } = this.parts;
    this.mendLeases(taken);
    if (clock.now_ms() < this.advertised_at_ms) return;
    this.advertised_at_ms = clock.now_ms() + advertised_interval_ms;
    this.mendAdvertised(taken);
  }

  /** Answers when it is to be called again, in ms; undefined: with the next change of the taps. */
  mendLeases(taken: Taken): number | undefined {
    return this.leases.mend(taken, this.parts.wishes.cluster(), this.parts.clock.now_ms());
  }

  mendAdvertised(taken: Taken): void {
    const { wishes } = this.parts;
    this.advertised.mend(taken, wishes.isDeaf, wishes.cluster());
  }

  /** `now`, as the taps are. A lease that a client is about to get again is in VPP and in the journal as if it had never been gone. */
  withoutGap(
    before: readonly CapturedUplink[],
    now: readonly CapturedUplink[] | undefined,
  ): readonly CapturedUplink[] | undefined {
    return now && this.leases.isOpen(this.parts.clock.now_ms()) ? withLeases(before, now) : now;
  }
}
