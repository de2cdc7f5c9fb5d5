/** Those who wait for one and the same answer of a pod. */
import type { ActorContext, Reply } from '../actor-system.js';
import type { PodMessage } from '../messages/pod.js';

/** A caller is answered this long before it gives up, while its answer still reaches it. */
export const answer_margin_ms = 100;

export class Callers<R> {
  readonly #ctx: ActorContext<PodMessage>;
  readonly #waiting = new Map<Reply<never>, { readonly reply: Reply<R>; readonly unwatch: () => void }>();

  constructor(ctx: ActorContext<PodMessage>) {
    this.#ctx = ctx;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Has GaveUp told when the caller's time is about to be over, or when `signal` says that it has gone. */
  join(reply: Reply<R>, signal?: AbortSignal): void {
    const ctx = this.#ctx;
    const caller = reply as Reply<never>;
    const message: PodMessage = { type: 'GaveUp', reply: caller };
    const left_ms = reply.deadline_ms - ctx.clock.now_ms() - answer_margin_ms;
    const timer = ctx.after(Math.max(0, left_ms), message);
    const onAbort = (): void => {
      ctx.tellSelf(message);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const unwatch = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    this.#waiting.set(caller, { reply, unwatch });
  }

  /** False when it does not wait here. */
  answer(caller: Reply<never>, answer: R): boolean {
    const waiting = this.#waiting.get(caller);
    if (waiting === undefined) return false;
    waiting.unwatch();
    this.#waiting.delete(caller);
    waiting.reply.resolve(answer);
    return true;
  }

  answerAll(answer: R): void {
    for (const caller of [...this.#waiting.keys()]) this.answer(caller, answer);
  }
}
