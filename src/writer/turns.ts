/** When an actor works on what has come in: a piece in each turn of the event loop, between what others tell it, and a burst at once. */
import type { ActorContext } from '../actor-system.js';
import type { Clock, Timer } from '../clock.js';
import type { Work } from '../messages/writer.js';

/** A turn of the event loop is worked on for so long, and then others have theirs. */
const turn_ms = 4;
/** Nor more than so many pieces, however fast they are. */
const pieces_max = 8;

/** Does pieces until the turn is over. What one takes is the machine's matter: a slow one does fewer of them. True: none is left. */
export function inPieces(clock: Pick<Clock, 'now_ms'>, piece: () => boolean): boolean {
  const ends_ms = clock.now_ms() + turn_ms;
  for (let left = pieces_max; left > 0; left -= 1) {
    if (piece()) return true;
    if (clock.now_ms() >= ends_ms) return false;
  }
  return false;
}

export class Turns {
  #burst: Timer | undefined;
  /** A Work is in the mailbox. */
  #told = false;

  constructor(
    private readonly ctx: Pick<ActorContext<Work>, 'after' | 'tellSelf'>,
    /** From the first news of a burst to the work that follows; 0: with the next turn. */
    private readonly coalesce_ms = 0,
  ) {}

  /** Something has come in. While more keeps coming it is not put off: what follows is done at most once in a moment. */
  news(): void {
    if (this.coalesce_ms === 0) return this.next();
    if (!this.#told) this.#burst ??= this.ctx.after(this.coalesce_ms, { type: 'Work' });
  }

  /** There is more to do. */
  next(): void {
    if (this.#told) return;
    this.#told = true;
    this.ctx.tellSelf({ type: 'Work' });
  }

  /** Work was heard. */
  heard(): void {
    this.#told = false;
  }

  /** What has come in is being worked on, whoever asked for it. */
  begun(): void {
    this.#burst?.cancel();
    this.#burst = undefined;
  }
}
