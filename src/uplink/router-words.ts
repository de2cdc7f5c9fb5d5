/** When VPP tells the host what routers have said, and what is over because they are silent. */
import type { Clock, Timer } from '../clock.js';
import type { RouterAdvertisement } from '../ip/advertisement.js';
import type { Routers } from './routers.js';

/** Routers repeat themselves; three of them speak one after the other. */
const repeat_ms = 500;
/** A router lives 65,535 s at most. */
const silence_ms_max = 66_000_000;

export class RouterWords {
  #due: Timer | undefined;
  #silent: Timer | undefined;

  /** `due`: calls for a look after so long. */
  constructor(
    private readonly routers: Routers,
    private readonly clock: Clock,
    private readonly due: (after_ms: number) => Timer,
  ) {}

  heard(uplink: string, advertisement: RouterAdvertisement): void {
    this.routers.heard(uplink, advertisement, this.clock.now_ms());
    this.repeatIn(repeat_ms);
  }

  /** What anybody on the link says costs VPP at most one transaction in this time. */
  repeatIn(after_ms = repeat_ms): void {
    this.#due ??= this.due(after_ms);
  }

  /** The look has begun. */
  looked(): void {
    this.#due = undefined;
  }

  /** Has it looked at again when a router has been silent for as long as it said that it would be there. */
  awaitSilence(): void {
    const now_ms = this.clock.now_ms();
    const next_ms = this.routers.nextChange_ms(now_ms);
    if (next_ms === undefined) return;
    this.#silent?.cancel();
    this.#silent = this.due(Math.min(next_ms - now_ms, silence_ms_max));
  }
}
