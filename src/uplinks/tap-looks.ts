/** When the taps of the host are looked at, and what routers have said is told to it, while VPP has the uplinks. */
import type { ActorContext } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { Following } from '../uplink/following.js';
import type { KnownNeighbours } from '../uplink/known-neighbours.js';
import type { OneTask } from '../uplink/one-task.js';
import type { RouterWords } from '../uplink/router-words.js';
import type { Taken } from '../uplink/taken.js';
import type { TapWatches } from '../uplink/tap-watches.js';
import type { UplinkSettings } from '../uplink/uplink-settings.js';

/** A DHCP client removes an address and adds the next: what lasts that long is followed. */
const settle_ms = 300;
/** A table of routes by the ten thousand changes all the time, and is gone through as a whole: for a tenth of the time at most. */
const rest_share = 9;
const rest_ms_max = 30_000;

/** The uplinks that VPP has, and of which those who build on them know. */
export interface HeldUplinks {
  readonly taken: Taken;
  readonly generation: number;
}

export class TapLooks {
  #settling: Timer | undefined;
  /** Until then the taps are not looked at again for a change of the host's. */
  #rests_until_ms = 0;
  #doubts = 0;

  constructor(
    private readonly ctx: Pick<ActorContext<UplinkMessage>, 'after' | 'tellSelf' | 'clock' | 'log'>,
    private readonly by: {
      readonly following: Following;
      /** That of the take-over, too: one of them at a time. */
      readonly task: OneTask;
      readonly watches: TapWatches;
      readonly known: KnownNeighbours;
      readonly words: RouterWords;
    },
    private readonly settings: Pick<UplinkSettings, 'retry_ms' | 'retry_max_ms'>,
  ) {}

  /** From now on the taps of these uplinks are watched. Idempotent. */
  begin(names: readonly string[]): void {
    // What has changed between the dressing of the tap and now has woken nobody.
    if (this.by.watches.begin(names)) this.#settle(settle_ms);
    this.by.known.begin(names);
    this.by.words.repeatIn();
  }

  end(): void {
    this.by.watches.end();
    this.by.known.end();
    this.#settling?.cancel();
    this.#settling = undefined;
  }

  /** The tap of that name has changed. */
  changed(name: string): void {
    this.by.watches.looked(name);
    this.#settle(Math.max(settle_ms, this.#rests_until_ms - this.ctx.clock.now_ms()));
  }

  /** What the cluster says does not wait for the next look at the taps. */
  now(): void {
    this.#settling?.cancel();
    this.#settling = undefined;
    this.#settle(0);
  }

  /** TapSettled: what the host has changed on its taps goes to VPP and into the journal. `held`: undefined when it has none. */
  settled(held: HeldUplinks | undefined): void {
    this.#settling = undefined;
    if (held === undefined) return;
    const { task, following } = this.by;
    const { taken, generation } = held;
    if (task.isBusy) return this.#settle(settle_ms);
    task.begin(async (signal) => {
      const began_ms = this.ctx.clock.now_ms();
      try {
        const { pods_in_vpp, networks_in_vpp } = following;
        const now = await following.follow(taken, generation, signal);
        // Pods are told of their pools when VPP knows where what they send keeps its source.
        const { mends_in_ms } = following;
        if (mends_in_ms !== undefined) this.#settle(mends_in_ms);
        const { looks_in_ms } = following.wishes.networks;
        if (looks_in_ms !== undefined) this.#settle(looks_in_ms);
        const is_news =
          now !== undefined ||
          pods_in_vpp !== following.pods_in_vpp ||
          networks_in_vpp !== following.networks_in_vpp;
        if (is_news) this.ctx.tellSelf({ type: 'Taken', generation, taken: now ?? taken });
      } catch (error) {
        if (!signal.aborted) {
          this.ctx.log.warn({ err: error as Error }, `uplink(follow) ${(error as Error).message}`);
          // In doubt it is looked at sooner.
          if (!following.is_in_doubt) this.#settle(this.settings.retry_max_ms);
        }
      }
      const ended_ms = this.ctx.clock.now_ms();
      this.#rests_until_ms = ended_ms + Math.min(rest_share * (ended_ms - began_ms), rest_ms_max);
    });
  }

  /** RouterWordsDue: has VPP tell the host what routers have said, and what is over because they are silent. */
  wordsDue(held: HeldUplinks | undefined): void {
    const { task, following, words } = this.by;
    words.looked();
    // A take-over under way does it itself.
    if (held === undefined) return;
    if (task.isBusy) return words.repeatIn();
    words.awaitSilence();
    task.begin(async (signal) => {
      await following.repeat(held.taken, held.generation).catch((error: Error) => {
        if (signal.aborted) return;
        this.ctx.log.warn({ err: error }, `uplink(routers) not told to the host: ${error.message}`);
        words.repeatIn(this.settings.retry_ms);
      });
    });
  }

  /** What VPP holds is looked at again, less and less often where it refuses the same each time. */
  doubt(): void {
    if (!this.by.following.is_in_doubt) {
      this.#doubts = 0;
      return;
    }
    const { retry_ms, retry_max_ms } = this.settings;
    this.#settle(Math.min(retry_ms * 2 ** this.#doubts, retry_max_ms));
    this.#doubts = Math.min(this.#doubts + 1, 30);
  }

  /** While changes keep coming the timer is not put off: they are followed at most once in `delay_ms`. */
  #settle(delay_ms: number): void {
    this.#settling ??= this.ctx.after(delay_ms, { type: 'TapSettled' });
  }
}
