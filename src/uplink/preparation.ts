/**
 * Whether a VPP that is about to be given the uplinks has what flows depend on from their first packet: pods and translations, and drops
 * where encryption is required, then the policies of the uplinks themselves. VPP judges a flow once. One that comes before them keeps a wrong way back, or a wrong verdict, for as long as it goes on.
 */
import type { Clock } from '../clock.js';
import type { TranslationOwner } from '../reconcile/translation-owners.js';

export type Preparer = TranslationOwner['by'] | 'policies' | 'connectivity';

/** `news`: what was told of the node may have to be told anew. `late`: nobody is waited for any longer. */
export type Prepared = 'in place' | 'late' | 'news';

export class Preparation {
  /** Who is told has it, and InPlace says it again: what is said of an earlier one is void. */
  round = 0;
  readonly #in_place = new Set<Preparer>();
  #awaited: readonly Preparer[] = [];
  #deadline_ms = 0;
  #has_news = false;
  /** Who waits looks again. */
  #wake: () => void = () => undefined;

  constructor(private readonly clock: Clock) {}

  /** These are waited for from now on, no longer than `limit_ms`. */
  begin(awaited: readonly Preparer[], limit_ms: number): void {
    this.#awaited = awaited;
    this.#deadline_ms = this.clock.now_ms() + limit_ms;
    this.anew();
  }

  /** They are told anew: what they say of what they were told before is void. */
  anew(): void {
    this.round += 1;
    this.#in_place.clear();
    this.#has_news = false;
  }

  inPlace(of: Preparer, round: number): void {
    if (round !== this.round) return;
    this.#in_place.add(of);
    this.#wake();
  }

  /** What they were told of the node may be no longer all. */
  news(): void {
    this.#has_news = true;
    this.#wake();
  }

  /** Who has not said that theirs is there. */
  get missing(): readonly Preparer[] {
    return this.#awaited.filter((each) => !this.#in_place.has(each));
  }

  /** Rejects when `signal` aborts. */
  async wait(signal: AbortSignal): Promise<Prepared> {
    for (;;) {
      signal.throwIfAborted();
      const left_ms = this.#deadline_ms - this.clock.now_ms();
      if (this.#has_news && left_ms > 0) {
        this.#has_news = false;
        return 'news';
      }
      if (this.missing.length === 0) return 'in place';
      if (left_ms <= 0) return 'late';
      await this.#woken(left_ms, signal);
    }
  }

  async #woken(within_ms: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        late.cancel();
        signal.removeEventListener('abort', end);
        this.#wake = () => undefined;
        resolve();
      };
      const late = this.clock.after(within_ms, end);
      signal.addEventListener('abort', end, { once: true });
      this.#wake = end;
    });
  }
}
