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
export abstract class Call {
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
  ) {}

  abstract answer(value: unknown): void;
  abstract refuse(error: unknown): void;
}

/** Somebody has a promise of the answer. */
export class PromisedCall extends Call {
  constructor(
    route: Route,
    fields: unknown,
    deadline_ms: number,
    asked_ms: number,
    collection: Collection | undefined,
    readonly answer: (value: unknown) => void,
    readonly refuse: (error: unknown) => void,
  ) {
    super(route, fields, deadline_ms, asked_ms, collection);
  }
}

/** Somebody is told of the answer. */
export class AskedCall extends Call {
  constructor(
    route: Route,
    fields: unknown,
    deadline_ms: number,
    asked_ms: number,
    readonly asker: Asker<unknown>,
  ) {
    super(route, fields, deadline_ms, asked_ms, undefined);
  }

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

/**
 * Of the promise that was made last. One executor for all promises instead of a closure for each: at full rate collecting what a
 * request leaves behind is most of its cost.
 */
export const settlers: { resolve: (value: unknown) => void; reject: (error: unknown) => void } = {
  resolve: () => {},
  reject: () => {},
};

export function takeSettlers(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
  settlers.resolve = resolve;
  settlers.reject = reject;
}
