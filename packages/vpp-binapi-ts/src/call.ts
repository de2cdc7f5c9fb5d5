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

/** A request from the call to the answer: first in the queue, then in a slot of the window. */
export class Call {
  context = 0;
  /** The deadline has passed and the caller knows. It keeps its slot: VPP is still to answer it, and before what was sent later. */
  expired = false;
  continued = false;
  /** Of a dump or a stream. */
  readonly details: unknown[] | undefined;

  constructor(
    readonly route: Route,
    readonly fields: unknown,
    readonly deadline_ms: number,
    readonly deadline_at_ms: number,
    readonly resolve: (value: unknown) => void,
    readonly reject: (error: unknown) => void,
  ) {
    this.details = route.details === undefined ? undefined : [];
  }
}

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
