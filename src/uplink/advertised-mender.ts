/** Puts back what routers had told the host and its taps have lost: where none is heard it does not come again by itself. */
import type { ClusterPrefixes } from '../desired/host-tap.js';
import { lostAdvertised } from './advertised.js';
import type { CapturedUplink } from './captured.js';
import type { Dressing } from './dressing.js';
import type { HostTaps } from './host-taps.js';
import { isNothing } from './lost.js';
import type { Taken } from './taken.js';

/** A service that flushes a tap does it once, a moment after it was started. One that goes on with it is not fought for ever. */
const mends_max = 5;

export class AdvertisedMender {
  /** On the taps of this VPP. */
  #mends = 0;

  constructor(
    private readonly taps: HostTaps,
    private readonly dressing: Dressing,
    private readonly warn: (text: string) => void,
  ) {}

  /** The taps are to be those of another VPP. */
  anew(): void {
    this.#mends = 0;
  }

  /** Nothing else of `taken` comes back: it may have been replaced since. `isDeaf`: no router has been heard behind it. See advertised.ts. */
  mend(
    { captured, uplinks }: Taken,
    isDeaf: (uplink: CapturedUplink) => boolean,
    cluster: ClusterPrefixes,
  ): void {
    const { taps } = this;
    // Nobody's loss is looked for where no router had told anything.
    if (lostAdvertised(captured, undefined, isDeaf).every(isNothing)) return;
    const lost = lostAdvertised(captured, taps.onTaps(captured), isDeaf);
    const gone = lost.flatMap(({ addresses, routes }) =>
      [...addresses, ...routes].map(({ prefix }) => prefix),
    );
    if (gone.length === 0 || this.#mends >= mends_max || !taps.areUp(uplinks)) return;
    this.#mends += 1;
    this.warn(
      `${gone.join(', ')} of a router's advertisements is gone from the tap, and is put back: none is heard there`,
    );
    this.dressing.putBack(uplinks, lost, cluster);
  }
}
