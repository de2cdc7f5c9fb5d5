import type { Timer } from '../clock.js';
import type { Ask } from './asks.js';
import type { Cell } from './cell.js';
import type { Children } from './children.js';
import { ActorDown } from './errors.js';
import type { Postmark } from './runtime.js';
import type { Actor, StopReason } from './types.js';
import type { Watch } from './watches.js';
import { deferred } from './within.js';

/**
 * One incarnation of an actor, from its start until it is over. What still runs for a life that is over (a handler that
 * never settled) has no effect on the next one. As a postmark it marks messages meant for this life only: its timers
 * and death notices.
 */
export class Life implements Postmark {
  readonly path: string;
  readonly controller = new AbortController();
  /** Questions that this life has asked. */
  readonly asks = new Set<Ask<never>>();
  readonly timers = new Set<Timer>();
  readonly watches = new Set<Watch>();
  actor: Actor<never> | undefined;
  children: Children | undefined;
  /** Set once it has begun to end. */
  ending: Promise<void> | undefined;
  /** It asked to end as soon as the message in hand is done. */
  exiting = false;
  blockedOn: string | undefined;
  over = false;
  /** What ended it, once it is over. */
  overBy: StopReason = { kind: 'shutdown' };
  /** Resolves when the start has succeeded or failed, or the life is over. */
  readonly started: Promise<void>;
  readonly startDone: () => void;

  /** The message in hand: its type (undefined: none), when it came and its mark. */
  handling: string | undefined;
  handlingSince_ms = 0;
  handlingMark: Postmark | null = null;
  /** Tells the mailbox that the asynchronous handler in hand is done with. */
  release: (() => void) | undefined;
  /** Called once when the message in hand is done. */
  idle: (() => void) | undefined;
  watchdog: Timer | undefined;

  constructor(
    readonly cell: Cell,
    readonly incarnation: number,
  ) {
    this.path = cell.path;
    const { promise, resolve } = deferred();
    this.started = promise;
    this.startDone = resolve;
  }

  expired(): boolean {
    return this.over;
  }

  /** True when it can take a message. */
  get open(): boolean {
    return this.actor !== undefined && this.ending === undefined && !this.exiting;
  }

  /** Ends all that it has under way. */
  close(): void {
    this.over = true;
    this.controller.abort(new ActorDown(this.path, `incarnation ${this.incarnation} is over`));
    this.watchdog?.cancel();
    for (const timer of [...this.timers]) timer.cancel();
    for (const ask of [...this.asks]) ask.reject(new ActorDown(this.path, 'the asker is over'));
    this.startDone();
    this.release?.();
    this.idle?.();
  }
}
