import type { Asker } from './client.js';
import type { Dump, Message, OneWay, Request, Stream } from './message.js';
import type { MessageStats } from './stats.js';

/** A message that is asked for, as this VPP numbers it and what answers it. */
export interface Route {
  readonly message: Message<unknown>;
  readonly kind: Asked['kind'];
  readonly id: number;
  readonly reply: Message<unknown> | undefined;
  readonly reply_id: number;
  readonly details: Message<unknown> | undefined;
  readonly details_id: number;
  readonly stats: MessageStats;
}

export type Asked =
  | Request<never, unknown>
  | Dump<never, unknown>
  | Stream<never, unknown, unknown>
  | OneWay<never>;

/** What a dump or a stream has got so far. */
export class Collection {
  count = 0;
  /** Without a handler. */
  readonly details: unknown[] = [];
  /** VPP has interrupted the stream, and `fields` of its call have the cursor that it goes on from. */
  continued = false;

  constructor(readonly each: ((details: unknown) => void) | undefined) {}
}

/** A request from the call to the answer: first in the queue, then in a slot of the window. */
export class Call {
  context = 0;
  /**
   * The caller has been told already: its deadline has passed, or its handler has thrown. It keeps its slot: VPP is still to answer
   * it, and before what was sent later.
   */
  given_up = false;

  constructor(
    readonly route: Route,
    public fields: unknown,
    readonly deadline_ms: number,
    /** A whole number: a fraction in an object is an allocation of its own. */
    readonly asked_ms: number,
    /** Of a dump or a stream. */
    readonly collection: Collection | undefined,
    readonly asker: Asker<unknown>,
  ) {}

  answer(value: unknown): void {
    try {
      this.asker.answered(value);
    } catch (error) {
      uncaught(error);
    }
  }

  refuse(error: unknown): void {
    try {
      this.asker.refused(error);
    } catch (thrown) {
      uncaught(thrown);
    }
  }
}

/** An exception of the asker is none of the connection's: it ends the process, unless somebody listens for it. */
function uncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** Of a message that is not answered. */
export const nobody: Asker<unknown> = { answered: () => {}, refused: () => {} };

let last: Asker<unknown> = nobody;

/** As what the promise that was made last, `new Promise(settles)`, is an asker. */
export function lastPromise(): Asker<unknown> {
  return last;
}

/**
 * One executor for all promises instead of a closure for each: at full rate collecting what a request leaves behind is most of its
 * cost.
 */
export function settles(answered: (value: unknown) => void, refused: (error: unknown) => void): void {
  last = { answered, refused };
}
