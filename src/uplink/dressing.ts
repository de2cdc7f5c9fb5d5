/** What the taps of the host get in Linux, and what is made of it when Linux refuses some. */
import type { ClusterPrefixes, Speakers } from '../desired/host-tap.js';
import type { Uplink } from '../desired/node-inputs.js';
import type { RepeatedAdvertisement } from '../ip/advertisement.js';
import type { HostTaps, Refusal } from './host-taps.js';
import type { Lost } from './lost.js';
import type { Taken } from './taken.js';
import { TakeOverFailed } from './uplink-error.js';

type Dressed = Pick<Taken, 'uplinks' | 'captured'>;

export class Dressing {
  /** What was told of prefixes that lie in networks of other links. */
  private within = '';

  constructor(
    private readonly taps: HostTaps,
    private readonly warn: (text: string) => void,
  ) {}

  /** Without its addresses and default routes the host is not what it was: throws TakeOverFailed. Anything else is worth a warning. */
  dressFully(taken: Dressed, cluster: ClusterPrefixes, speakers: Speakers): void {
    for (const refusal of this.refused(taken, cluster, speakers)) {
      const { change } = refusal;
      const is_default =
        'route' in change && change.do !== 'delete_route' && /^(0\.0\.0\.0|::)\/0$/.test(change.route.prefix);
      if (change.do === 'replace_address' || is_default) throw new TakeOverFailed(refusalText(refusal));
      this.warn(refusalText(refusal));
    }
  }

  /** What is refused is a warning, whatever it is. */
  dress(taken: Dressed, cluster: ClusterPrefixes, speakers: Speakers): void {
    this.warnOf(this.refused(taken, cluster, speakers));
  }

  /** What is ours on them, and gone. */
  redress(uplinks: readonly Uplink[], cluster: ClusterPrefixes, speakers: Speakers): void {
    this.tellWithin(uplinks, cluster);
    this.warnOf(this.taps.redress(uplinks, cluster, speakers));
  }

  /** What routers had told, or servers leased, and is gone. By uplink. */
  putBack(uplinks: readonly Uplink[], lost: readonly Lost[], cluster: ClusterPrefixes): void {
    this.warnOf(this.taps.putBack(uplinks, lost, cluster));
  }

  private refused({ uplinks, captured }: Dressed, cluster: ClusterPrefixes, speakers: Speakers): Refusal[] {
    this.tellWithin(uplinks, cluster);
    return this.taps.dress(uplinks, captured, cluster, speakers);
  }

  private warnOf(refusals: readonly Refusal[]): void {
    for (const refusal of refusals) this.warn(refusalText(refusal));
  }

  private tellWithin(uplinks: readonly Uplink[], cluster: ClusterPrefixes): void {
    const within = this.taps.withinOthers(uplinks, cluster).join(', ');
    if (within === this.within) return;
    this.within = within;
    if (within !== '')
      this.warn(
        `${within} of the cluster lies in a network of another link of the host, which does not reach it by VPP: give the pool, or the services, another prefix`,
      );
  }
}

/** Routers in whose name VPP speaks, and which are default routers. */
export function speakersOf(repeated: ReadonlyMap<string, RepeatedAdvertisement>): Speakers {
  return new Map(
    [...repeated].flatMap(([name, { router, lifetime_s }]) => (lifetime_s === 0 ? [] : [[name, router]])),
  );
}

function refusalText({ error }: Refusal): string {
  return `Linux refused ${error.message}`;
}
