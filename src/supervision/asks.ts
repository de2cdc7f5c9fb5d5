import type { Clock, Timer } from '../clock.js';
import { ActorDown, AskDeadline, MailboxFull } from './errors.js';
import { typeOf } from './mailbox.js';
import { cellOf } from './ref.js';
import type { Postmark } from './runtime.js';
import type { ActorRef, Reply } from './types.js';

/** Where pending questions are listed: those to an actor, or those of one of its incarnations. */
export interface AskList {
  readonly path: string;
  readonly asks: Set<Ask<never>>;
}

/** A rejection that nobody has to look at: an asker that has lost interest does not take the process down. */
export function rejected(error: Error): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return promise;
}

/** One question that waits for its answer. */
export class Ask<R> implements Reply<R>, Postmark {
  type = '';
  readonly asked_ms: number;
  readonly deadline_ms: number;
  readonly promise: Promise<R>;
  #settled = false;
  #resolve!: (value: R) => void;
  #reject!: (error: Error) => void;
  readonly #timer: Timer;
  readonly #lists: Set<Ask<never>>[];

  constructor(
    readonly id: number,
    readonly target: string,
    clock: Clock,
    within_ms: number,
    lists: Set<Ask<never>>[],
    readonly describe?: Postmark['describe'],
  ) {
    this.asked_ms = clock.now_ms();
    this.deadline_ms = this.asked_ms + within_ms;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // As in `rejected`.
    this.promise.catch(() => {});
    this.#timer = clock.after(within_ms, () => this.reject(new AskDeadline(target, this.type, within_ms)));
    this.#lists = lists;
    for (const list of lists) list.add(this as unknown as Ask<never>);
  }

  resolve(value: R): void {
    if (this.#settle()) this.#resolve(value);
  }

  reject(error: Error): void {
    if (this.#settle()) this.#reject(error);
  }

  expired(): boolean {
    return this.#settled;
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#timer.cancel();
    for (const list of this.#lists) list.delete(this as unknown as Ask<never>);
    return true;
  }
}

/** All open questions of a system. */
export class AskTable {
  readonly open = new Set<Ask<never>>();
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks `to` on behalf of `from` (undefined: from outside the tree). See ActorContext.ask. */
  ask<Q, R>(
    from: AskList | undefined,
    to: ActorRef<Q>,
    question: (reply: Reply<R>) => Q,
    within_ms: number,
  ): Promise<R> {
    return this.#send(from, to as ActorRef<never>, question, within_ms);
  }

  /** Has the actor at `to` describe itself between two of its messages. */
  describe(to: ActorRef<never>, within_ms: number): Promise<unknown> {
    return this.#send(undefined, to, () => ({ type: 'describe' }), within_ms, true);
  }

  #send<R>(
    from: AskList | undefined,
    to: ActorRef<never>,
    question: (reply: Reply<R>) => unknown,
    within_ms: number,
    describes = false,
  ): Promise<R> {
    const cell = cellOf(to);
    if (cell === undefined) return rejected(new ActorDown(to.path, 'nobody lives there'));
    const lists = [this.open, cell.asks];
    if (from !== undefined) lists.push(from.asks);
    this.#last += 1;
    const view = (run: () => unknown): void => {
      try {
        ask.resolve(run() as R);
      } catch (error) {
        ask.reject(error as Error);
      }
    };
    const ask = new Ask<R>(this.#last, to.path, this.#clock, within_ms, lists, describes ? view : undefined);
    try {
      const message = question(ask);
      ask.type = typeOf(message);
      const offer = cell.offer(message, ask, false);
      if (offer === 'full') ask.reject(new MailboxFull(to.path, cell.spec.mailbox_max));
      else if (offer === 'gone') ask.reject(new ActorDown(to.path, 'it is stopping'));
    } catch (error) {
      ask.reject(error as Error);
    }
    return ask.promise;
  }
}
